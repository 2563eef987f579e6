/** The types of Grafana's own dashboard files, for JSON: its enumerations are texts and numbers there. */
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type * as raw from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';

/** Enumerations become their values. */
type Json<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends readonly (infer Item)[]
      ? Json<Item>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

/** Grafana fills in what is missing of a panel's options. */
type Optional<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { [Key in keyof T]?: Optional<T[Key]> }
    : T;

type PanelOf<Type extends string, Options, Custom> = Omit<
  Json<raw.Panel>,
  'type' | 'options' | 'fieldConfig'
> & {
  type: Type;
  options: Optional<Json<Options>>;
  fieldConfig: Omit<Json<raw.FieldConfigSource>, 'defaults'> & {
    defaults: Omit<Json<raw.FieldConfig>, 'custom'> & { custom?: Optional<Json<Custom>> };
  };
};

export type Panel =
  | PanelOf<'bargauge', bargauge.Options, never>
  | PanelOf<'stat', stat.Options, never>
  | PanelOf<'table', table.Options, table.FieldConfig>
  | PanelOf<'timeseries', timeseries.Options, timeseries.FieldConfig>;

/** What Grafana's import of a file reads in addition to the dashboard. */
interface Requirement {
  type: 'grafana' | 'panel' | 'datasource';
  id: string;
  name: string;
  version: string;
}

export type Dashboard = Omit<Json<raw.Dashboard>, 'panels' | 'templating'> & {
  __requires: Requirement[];
  panels: Panel[];
  templating: { list: (Omit<Json<raw.VariableModel>, 'current'> & Variable)[] };
};

/** Grafana writes the first itself; the types demand more of the second than it does. */
interface Variable {
  definition?: string;
  current?: Partial<Json<raw.VariableOption>>;
}
