import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { labelRenderer, type MetricFamily, render as renderPieces } from '../src/exposition.ts';
import {
  CONNECTION_RULES,
  RUN_RULES,
  sessionRules,
  tally,
  UNLISTED_RULES,
  UNVERIFIED_RULES,
} from '../src/metrics.ts';
import { selectSessions } from '../src/session.ts';
import { cleanText } from '../src/text.ts';
import { COLUMNS, type Column, type Row } from '../src/w/parse.ts';
import { loginTimes } from '../src/w/time.ts';
import { labelsOf, readExposition, soleValue } from './support/exposition.ts';
import { READ } from './support/w.ts';
import { momentOf } from './support/zone.ts';

const NOW = new Date('2026-11-23T15:00:00Z');

const row: Row = { ...READ, jcpu: '0.10s', pcpu: '0.20s' };

function render(families: Iterable<MetricFamily>): string {
  return [...renderPieces(families)].join('');
}

function expose(rows: readonly Row[], labels: readonly Column[] = COLUMNS): string {
  const listing = { hasFrom: true, rows, unreadable: [] };
  const { sessions } = selectSessions(listing, true);
  return render(tally(sessionRules(labels, loginTimes(momentOf(NOW))), sessions).families);
}

describe('render', () => {
  it('writes the text format', () => {
    const renderLabels = labelRenderer(['x', 'y']);
    const labels = (x: string, y: string) => renderLabels({ x, y });
    const family = {
      name: 'a_metric',
      help: 'Back\\slash, "quote" and\nnewline.',
      samples: [
        { labels: labels('back\\slash, "quote" and\nnewline', 'ü\u2028\t{}'), value: 1.5 },
        { labels: labels('', ''), value: -0 },
        { labels: labels('inf', ''), value: Infinity },
        { labels: labels('-inf', ''), value: -Infinity },
        { labels: labels('nan', ''), value: Number.NaN },
        { labels: labels('large', ''), value: 1e21 },
        { labels: labels('small', ''), value: 1e-7 },
      ],
    };
    assert.equal(
      render([family, { name: 'none', help: 'Left out.', samples: [] }]),
      [
        '# HELP a_metric Back\\\\slash, "quote" and\\nnewline.',
        '# TYPE a_metric gauge',
        'a_metric{x="back\\\\slash, \\"quote\\" and\\nnewline",y="ü\u2028\t{}"} 1.5',
        'a_metric{x="",y=""} 0',
        'a_metric{x="inf",y=""} +Inf',
        'a_metric{x="-inf",y=""} -Inf',
        'a_metric{x="nan",y=""} NaN',
        'a_metric{x="large",y=""} 1e+21',
        'a_metric{x="small",y=""} 1e-7',
        '',
      ].join('\n'),
    );
  });

  it('lets an independent reader get back any label value', () => {
    const value = fc.string({ unit: 'binary', maxLength: 40 });
    const renderLabels = labelRenderer(['a', 'b']);
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(value, value), { selector: ([a, b]) => JSON.stringify([a, b]) }),
        (all) => {
          const samples = all.map(([a, b], value) => ({ labels: renderLabels({ a, b }), value }));
          const text = render([{ name: 'm', help: 'h', samples }]);
          const read = readExposition(text).samples.map(({ labels, value }) => [
            labels['a'],
            labels['b'],
            value,
          ]);
          assert.deepEqual(
            read,
            all.map(([a, b], index) => [a, b, index]),
          );
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('metric families', () => {
  it('merge sessions with equal labels, each by its own rule, and count every session', () => {
    const twin: Row = { ...row, login: '12:00', idle: '1:00', jcpu: '0.20s', pcpu: '?' };
    const read = readExposition(expose([row, twin, twin]));
    assert.equal(soleValue(read, 'ssh_sessions_total'), 3);
    assert.deepEqual(labelsOf(read, 'ssh_session_info'), [{ ...row }, { ...twin }]);
    assert.equal(soleValue(read, 'ssh_user_sessions'), 3);
    const login = new Date('2026-11-23T12:00:00').getTime() / 1000;
    assert.equal(soleValue(read, 'ssh_session_login_timestamp_seconds'), login, 'the newest login');
    assert.equal(soleValue(read, 'ssh_session_idle_seconds'), 5, 'the least idle time');
    assert.equal(
      soleValue(read, 'ssh_session_jcpu_seconds'),
      0.5,
      'the sum of CPU times, without 0.30000000000000004',
    );
    assert.equal(soleValue(read, 'ssh_session_pcpu_seconds'), 0.2, 'of those that are known');
  });

  it('have no sample for what w does not know', () => {
    const read = readExposition(expose([{ ...row, login: '', idle: '', jcpu: '?', pcpu: '?xdm?' }]));
    const names = new Set(read.samples.map((sample) => sample.name));
    assert.deepEqual([...names], ['ssh_sessions_total', 'ssh_session_info', 'ssh_user_sessions']);
    assert.deepEqual([...read.type.keys()], [...names]);
  });

  it('hold a count of 0 if there are no sessions', () => {
    assert.deepEqual(readExposition(expose([])).samples, [
      { name: 'ssh_sessions_total', labels: {}, value: 0 },
    ]);
  });

  it('give ssh_session_info the labels that were asked for', () => {
    const read = readExposition(expose([row, { ...row, what: 'ls' }], ['user', 'from']));
    assert.deepEqual(labelsOf(read, 'ssh_session_info'), [{ user: 'pi', from: '10.0.0.5' }]);
    assert.equal(soleValue(read, 'ssh_sessions_total'), 2);
  });

  it('count connections by user and kind', () => {
    const connections = (['terminal', 'notty', 'notty'] as const).map((kind) => ({ user: 'pi', kind }));
    const { samples } = readExposition(render(tally(CONNECTION_RULES, connections).families));
    assert.deepEqual(
      samples.map(({ labels, value }) => [labels['user'], labels['kind'], value]),
      [
        ['pi', 'terminal', 1],
        ['pi', 'notty', 2],
      ],
    );
    assert.equal(render(tally(CONNECTION_RULES, []).families), '');
  });

  it('count what w does not list, and what only w lists', () => {
    const unlisted = (['terminal', 'notty'] as const).map((kind, connections) => ({ kind, connections }));
    const tallies = [tally(UNLISTED_RULES, unlisted), tally(UNVERIFIED_RULES, [{ sessions: 3 }])];
    const { samples } = readExposition(render(tallies.flatMap(({ families }) => families)));
    assert.deepEqual(samples, [
      { name: 'ssh_sessions_unlisted', labels: { kind: 'terminal' }, value: 0 },
      { name: 'ssh_sessions_unlisted', labels: { kind: 'notty' }, value: 1 },
      { name: 'ssh_sessions_unverified', labels: {}, value: 3 },
    ]);
  });

  it('describe the run', () => {
    const run = { success: false, time: NOW.getTime(), seconds: 0.25, unparsedRows: 7, version: '1.2.3' };
    const { samples } = readExposition(render(tally(RUN_RULES, [run]).families));
    assert.deepEqual(
      samples.map(({ name, labels, value }) => [name.replace('ssh_sessions_exporter_', ''), labels, value]),
      [
        ['success', {}, 0],
        ['last_run_timestamp_seconds', {}, NOW.getTime() / 1000],
        ['duration_seconds', {}, 0.25],
        ['unparsed_rows', {}, 7],
        ['build_info', { version: '1.2.3' }, 1],
      ],
    );
  });

  it('hold each sample once, lose no session, and are equal for equal input, whatever w prints', () => {
    // A small choice makes rows that are equal in all or in part.
    const text = fc.oneof(
      fc.constantFrom('', 'a', 'b', 'a\0b', '?', '-', '\u001b', '\uFFFD', 'a"} 1\nssh_sessions_total 9'),
      fc.string({ unit: 'binary', maxLength: 8 }),
    );
    const cell = text.map((value) => cleanText(Buffer.from(value).toString('latin1')));
    const duration = fc.constantFrom('', '?', '1.00s', '1:05', '2:00m', '3days');
    const login = fc.constantFrom('11:19', 'Mon11', '23Nov25', '');
    const anyRow = fc.record<Row>({
      user: cell,
      tty: cell,
      from: cell,
      login,
      idle: duration,
      jcpu: duration,
      pcpu: duration,
      what: cell,
    });
    fc.assert(
      fc.property(fc.array(anyRow, { maxLength: 12 }), fc.subarray([...COLUMNS]), (rows, labels) => {
        const exposed = expose(rows, labels);
        assert.equal(exposed, expose(rows, labels));
        assert.equal(exposed, Buffer.from(exposed).toString('utf8'), 'valid UTF-8');
        const read = readExposition(exposed);
        assert.equal(soleValue(read, 'ssh_sessions_total'), rows.length);
        const shown = rows.map((each) => ({ ...each, from: each.from.replace(/-$/, '') }));
        const distinct = new Set(shown.map((each) => JSON.stringify(labels.map((label) => each[label]))));
        const infos = labelsOf(read, 'ssh_session_info');
        assert.deepEqual(
          new Set(infos.map((info) => JSON.stringify(labels.map((label) => info[label])))).size,
          distinct.size,
        );
        const perUser = read.samples.filter(({ name }) => name === 'ssh_user_sessions');
        assert.equal(
          perUser.reduce((total, { value }) => total + value, 0),
          rows.length,
        );
      }),
      { numRuns: 1500 },
    );
  });
});
