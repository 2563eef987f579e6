/** Reads what Grafana does of a dashboard file. */
import { readFileSync } from 'node:fs';

export interface Dashboard {
  readonly id: null;
  readonly uid: string;
  readonly title: string;
  readonly schemaVersion: number;
  /** The oldest Grafana that has all that the file uses. */
  readonly __requires: readonly { readonly id: string; readonly version: string }[];
  readonly templating: { readonly list: readonly Variable[] };
  readonly panels: readonly Panel[];
}

export interface Variable {
  readonly name: string;
  readonly type: 'constant' | 'datasource' | 'query';
  readonly query: string | { readonly query: string };
  readonly allValue?: string;
  readonly skipUrlSync?: boolean;
}

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description: string;
  readonly pluginVersion: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource: { readonly uid: string };
  readonly targets: readonly Target[];
  readonly fieldConfig: {
    readonly defaults: { readonly unit?: string };
    readonly overrides: readonly { readonly matcher: { readonly options: string } }[];
  };
  readonly transformations?: readonly Transformation[];
}

export interface Target {
  readonly refId: string;
  readonly datasource: { readonly uid: string };
  readonly expr: string;
  readonly format?: 'table';
  /** Asked for one moment, or else for a range of time. */
  readonly instant: boolean;
}

/** `merge`, or `organize`, which has the options. */
export interface Transformation {
  readonly id: string;
  readonly options: {
    readonly excludeByName?: Readonly<Record<string, boolean>>;
    readonly indexByName?: Readonly<Record<string, number>>;
    readonly renameByName?: Readonly<Record<string, string>>;
  };
}

export function readDashboard(file: string): Dashboard {
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** The value of each variable at first, where all hosts are selected. */
export function defaults({ templating }: Dashboard): Record<string, string> {
  return Object.fromEntries(
    templating.list.map(({ name, type, query, allValue }) => {
      const text = typeof query === 'string' ? query : query.query;
      return [name, type === 'constant' ? text : (allValue ?? '')];
    }),
  );
}

/** An expression with values in place of variables, as Grafana does it; `$1` is not a variable but PromQL's own. */
export function substitute(expression: string, values: Readonly<Record<string, string>>): string {
  return expression.replace(/\$([a-z]\w*)|\$\{(\w+)\}/g, (text, plain, braced) => {
    const value = values[plain ?? braced];
    if (value === undefined) throw new Error(`no such variable: ${text} in ${expression}`);
    return value;
  });
}
