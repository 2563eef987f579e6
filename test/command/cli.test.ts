import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { exporter, HOST, ROOT, scratch, standInW } from '../support/exporter.ts';
import { labelsOf, readExposition, soleValue, withoutRunData } from '../support/exposition.ts';
import { until } from '../support/process.ts';
import { DEFAULT_LAYOUT, PRINTED, printW, WIDEST_LAYOUT, type WRow } from '../support/w.ts';

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

const row: WRow = { ...PRINTED, login: '00:00', what: 'vim secret' };
const console_: WRow = { ...row, user: 'ana', tty: 'tty1', from: '-' };

const SAVED = printW([row, console_], DEFAULT_LAYOUT).toString();

/** The metrics of a run that reads SAVED from standard input. */
function exposeSaved(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = exporter(['--input', '-', '--output', '-', ...args], {
    env,
    input: SAVED,
  });
  assert.equal(status, 0, stderr);
  return readExposition(stdout);
}

/** A run that finds a stand-in for w and asks nothing else, and a file of an earlier run. */
function runWith(context: TestContext, script: string, args: readonly string[] = []) {
  const directory = scratch(context);
  const file = join(directory, 'x.prom');
  writeFileSync(file, 'ssh_sessions_total 7\n');
  const env = { PATH: standInW(directory, script) };
  const outcome = exporter(['--output', file, '--no-connections', ...args], { env });
  return { ...outcome, file, exposed: readExposition(readFileSync(file, 'utf8')) };
}

/** A failed run says so in one line and in the file, which holds nothing else. */
function assertFailed(outcome: ReturnType<typeof runWith>, message: RegExp): void {
  assert.match(outcome.stderr, /^error: [^\n]+\n$/);
  assert.match(outcome.stderr, message);
  assert.equal(outcome.status, 1);
  assert.equal(soleValue(outcome.exposed, 'ssh_sessions_exporter_success'), 0);
  const names = outcome.exposed.samples.map(({ name }) => name);
  assert.deepEqual(
    names.filter((name) => /^ssh_(?:user_)?session(?!s_exporter_)/.test(name)),
    [],
  );
  assert.equal(names.filter((name) => name.startsWith('ssh_sessions_exporter_')).length, 5);
}

describe('the command', () => {
  it('runs the real w', (context) => {
    const file = join(scratch(context), 'x.prom');
    const { status, stdout, stderr } = exporter(['--output', file]);
    assert.equal(status, 0, stderr);
    assert.equal(stdout, '');
    const exposed = readExposition(readFileSync(file, 'utf8'));
    assert.equal(soleValue(exposed, 'ssh_sessions_exporter_success'), 1);
    assert.ok(soleValue(exposed, 'ssh_sessions_total') >= 0);
    assert.ok(
      Math.abs(soleValue(exposed, 'ssh_sessions_exporter_last_run_timestamp_seconds') - Date.now() / 1000) <
        60,
    );
    const duration = soleValue(exposed, 'ssh_sessions_exporter_duration_seconds');
    assert.ok(duration > 0 && duration < 60);
    assert.deepEqual(labelsOf(exposed, 'ssh_sessions_exporter_build_info'), [{ version }]);
  });

  it('needs no package but its two files', (context) => {
    const alone = scratch(context);
    for (const file of ['ssh-sessions-exporter.cjs', 'commander.cjs'])
      copyFileSync(join(ROOT, 'dist', file), join(alone, file));
    const program = join(alone, 'ssh-sessions-exporter.cjs');
    const stdout = execFileSync(process.execPath, [program, '--input', '-', '--output', '-'], {
      encoding: 'utf8',
      input: SAVED,
      stdio: 'pipe',
    });
    assert.equal(soleValue(readExposition(stdout), 'ssh_sessions_total'), 1);
  });

  it('asks w for widths that cut nothing, in a language that it can read', (context) => {
    const script = 'echo "$@" "$PROCPS_USERLEN $PROCPS_FROMLEN $COLUMNS $LC_ALL <$LANGUAGE>" >&2; exit 3';
    assertFailed(runWith(context, script), /-i 32 256 512 C\.UTF-8 <>/);
  });

  it('gives equal bytes for equal input, except for the time and duration of the run', () => {
    const run = () => withoutRunData(exporter(['-i', '-', '-o', '-'], { input: SAVED }).stdout);
    assert.equal(run(), run());
  });
});

describe('an option', () => {
  it('--output names the file, and overrides SSH_SESSIONS_OUTPUT', (context) => {
    const directory = scratch(context);
    const env = { SSH_SESSIONS_OUTPUT: join(directory, 'env.prom') };
    exporter([], { env });
    assert.deepEqual(readdirSync(directory), ['env.prom']);
    exporter(['-o', 'option.prom'], { env, cwd: directory });
    assert.deepEqual(readdirSync(directory), ['env.prom', 'option.prom']);
  });

  it('--output gives a warning for a name that node_exporter does not read', (context) => {
    const file = join(scratch(context), 'x.txt');
    const { status, stderr } = exporter(['-o', file]);
    assert.equal(status, 0);
    assert.match(stderr, /^warning: .*\.prom/m);
    assert.ok(existsSync(file));
  });

  it('--input reads a file and leaves out the connections of this machine', (context) => {
    const file = join(scratch(context), 'w.txt');
    writeFileSync(file, SAVED);
    const { stdout } = exporter(['--input', file, '--output', '-']);
    assert.equal(soleValue(readExposition(stdout), 'ssh_sessions_total'), 1);
    assert.doesNotMatch(stdout, /ssh_connections/);
  });

  it('--input reads a long file, and as much from a pipe', (context) => {
    const file = join(scratch(context), 'saved');
    const rows = Array.from({ length: 2_000 }, (_, index) => ({ ...row, tty: `pts/${index}` }));
    writeFileSync(file, printW(rows, WIDEST_LAYOUT));
    for (const from of [
      ['--input', file],
      ['--input', '-'],
    ]) {
      const input = readFileSync(file);
      const read = readExposition(exporter([...from, '--output', '-'], { input }).stdout);
      assert.deepEqual(
        labelsOf(read, 'ssh_session_info').map(({ tty }) => tty),
        rows.map(({ tty }) => tty),
      );
    }
  });

  it('--all exports every login, and counts it', () => {
    assert.equal(soleValue(exposeSaved([]), 'ssh_sessions_total'), 1);
    const all = exposeSaved(['--all']);
    assert.equal(soleValue(all, 'ssh_sessions_total'), 2);
    assert.deepEqual(labelsOf(all, 'ssh_user_sessions'), [
      { user: 'pi', from: '10.0.0.5' },
      { user: 'ana', from: '' },
    ]);
  });

  it('--labels chooses the labels of ssh_session_info', () => {
    const [info] = labelsOf(exposeSaved(['--labels', 'from, user,user']), 'ssh_session_info');
    assert.deepEqual(Object.entries(info ?? {}), [
      ['user', 'pi'],
      ['from', '10.0.0.5'],
    ]);
  });

  it('--no-args keeps only the name of the command', () => {
    assert.equal(labelsOf(exposeSaved([]), 'ssh_session_info')[0]?.['what'], 'vim secret');
    assert.equal(labelsOf(exposeSaved(['--no-args']), 'ssh_session_info')[0]?.['what'], 'vim');
  });

  it('--log-level and LOG_LEVEL set how much is logged, in upper or lower case', () => {
    const log = (args: string[], env: NodeJS.ProcessEnv = {}) =>
      exporter(['-i', '-', '-o', '-', ...args], { env, input: `${SAVED}no row\n` }).stderr;
    assert.match(log([]), /^warning: [^\n]*"no row"\ninfo: [^\n]*\n$/);
    assert.match(log(['--log-level', 'Warning']), /^warning: [^\n]*\n$/);
    assert.equal(log([], { LOG_LEVEL: 'ERROR' }), '');
    assert.match(log(['--log-level', 'info'], { LOG_LEVEL: 'error' }), /info: /);
    assert.match(log([], { LOG_LEVEL: '' }), /info: /, 'an empty setting is none');
  });

  it('--version and --help answer on standard output', () => {
    assert.deepEqual(
      [exporter(['-V']), exporter(['--version'])].map(({ status, stdout }) => [status, stdout]),
      [
        [0, `${version}\n`],
        [0, `${version}\n`],
      ],
    );
    for (const flag of ['-h', '--help']) {
      const { status, stdout, stderr } = exporter([flag]);
      assert.deepEqual([status, stderr], [0, '']);
      for (const option of [
        '--output',
        '--input',
        '--all',
        '--labels',
        '--no-connections',
        '--no-args',
        '--timeout',
      ]) {
        assert.ok(stdout.includes(option), option);
      }
    }
  });

  it('--version and --help fail in one line if that cannot be written', () => {
    for (const flag of ['--version', '--help']) {
      const { status, stderr } = exporter([flag], { stdout: '/dev/full' });
      assert.equal(status, 1);
      assert.match(stderr, /^error: cannot write standard output: no space left on device; [^\n]+\n$/);
    }
  });
});

describe('a wrong command line', () => {
  const cases: readonly [readonly string[], NodeJS.ProcessEnv, RegExp][] = [
    [['--outptu', 'x'], {}, /unknown option '--outptu'.*--output <file>.*--help/],
    [['extra'], {}, /too many arguments/],
    [['--output'], {}, /--output <file>.* argument missing/],
    [['--output', ''], {}, /\.prom/],
    [['--labels', 'user,host'], {}, /host.*user, tty, from, login, idle, jcpu, pcpu, what/],
    [['--labels', ''], {}, /user, tty, from, login, idle, jcpu, pcpu, what/],
    [['--timeout', '5s'], {}, /5s.*number of seconds/],
    [['--timeout', '0'], {}, /number of seconds/],
    [['--timeout', '-1'], {}, /number of seconds/],
    [['--timeout', 'Infinity'], {}, /number of seconds/],
    [['--timeout', ' '], {}, /number of seconds/],
    [['--log-level', 'loud\nmouth'], {}, /debug, info, warning, error/],
    [[], { LOG_LEVEL: 'loud' }, /LOG_LEVEL.*debug, info, warning, error/],
  ];
  for (const [args, env, message] of cases) {
    it(`${JSON.stringify(args)} ${JSON.stringify(env)} exits with 2 and one line that says what is valid`, (context) => {
      const file = join(scratch(context), 'x.prom');
      const { status, stdout, stderr } = exporter(args, { env: { SSH_SESSIONS_OUTPUT: file, ...env } });
      assert.equal(status, 2);
      assert.equal(stdout, '');
      assert.match(stderr, /^error: [^\n]+\n$/);
      assert.match(stderr, message);
      assert.ok(!existsSync(file));
    });
  }
});

describe('a run fails, says why and exports no session if w', () => {
  it('is not installed', (context) => {
    const directory = scratch(context);
    const file = join(directory, 'x.prom');
    writeFileSync(file, '');
    const outcome = exporter(['-o', file, '--no-connections'], { env: { PATH: directory } });
    assertFailed(
      { ...outcome, file, exposed: readExposition(readFileSync(file, 'utf8')) },
      /w not found.*apt-get install procps/,
    );
  });

  const cases: readonly [string, string, RegExp][] = [
    ['cannot be executed', 'chmod -x "$0"; exec "$0"', /status 126/],
    ['fails', 'echo "w: no such thing" >&2; exit 3', /status 3.*w: no such thing/],
    ['fails without a message', 'exit 1', /status 1/],
    ['is killed', 'kill -SEGV $$', /killed by SIGSEGV/],
    ['prints nothing', 'exit 0', /printed nothing/],
    ['prints garbage', 'head -c 100000 /dev/urandom | tr -d "\\n"', /procps/],
    ['prints garbage that a terminal would act on', 'printf "\\033[2Jhello\\n"', /"\uFFFD\[2Jhello"/],
    ['prints to standard error only', 'echo oops >&2', /printed nothing/],
  ];
  for (const [what, script, message] of cases) {
    it(what, (context) => {
      const outcome = runWith(context, script);
      const last = outcome.stderr.trimEnd().split('\n').pop() ?? '';
      assertFailed({ ...outcome, stderr: `${last}\n` }, message);
    });
  }

  it('hangs; then it is killed with all that it started', async (context) => {
    const pids = join(scratch(context), 'pids');
    const script = `trap '' TERM INT HUP\nsleep 97 & echo $! $$ > ${pids}\nwait\nsleep 98`;
    const outcome = runWith(context, script, ['--timeout', '0.5005']);
    assertFailed(outcome, /longer than 0\.5005 s.*--timeout/);
    for (const pid of readFileSync(pids, 'utf8').trim().split(' ')) {
      await until(`${pid} ends`, () => !existsSync(`/proc/${pid}/exe`) || isZombie(pid));
    }
  });

  it('prints for ever', (context) => {
    assertFailed(runWith(context, 'exec yes'), /more than 64 MiB/);
  });
});

function isZombie(pid: string): boolean {
  return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

describe('a run', () => {
  it('counts rows that cannot be read, warns of the first few and exports the others', (context) => {
    const saved = join(scratch(context), 'saved');
    writeFileSync(saved, `${SAVED}${'no row\n'.repeat(1000)}`);
    const outcome = runWith(context, `cat ${saved}`);
    assert.equal(outcome.status, 0);
    assert.equal(soleValue(outcome.exposed, 'ssh_sessions_exporter_unparsed_rows'), 1000);
    assert.equal(soleValue(outcome.exposed, 'ssh_sessions_total'), 1);
    const warnings = outcome.stderr.split('\n').filter((line) => line.startsWith('warning: '));
    assert.equal(warnings.length, 11);
    assert.match(warnings[0] ?? '', /"no row"/);
    assert.match(warnings[10] ?? '', /990/);
  });

  it('fails for saved output that has no FROM or cannot be read', (context) => {
    const directory = scratch(context);
    const file = join(directory, 'x.prom');
    const fail = (args: readonly string[], input: string, message: RegExp) => {
      const outcome = exporter(['-o', file, ...args], { input });
      assertFailed({ ...outcome, file, exposed: readExposition(readFileSync(file, 'utf8')) }, message);
    };
    const bare = printW([row], { ...DEFAULT_LAYOUT, from: false }).toString();
    fail(['-i', '-'], bare, /no FROM column.*w -i/);
    fail(['-i', join(directory, 'missing')], '', /cannot read .*missing.*w -i/);
    fail(['-i', directory], '', /cannot read .*directory/);
    fail(['-i', '/dev/zero'], '', /more than 64 MiB/);
    assert.equal(exporter(['-o', file, '-i', '-', '--all'], { input: bare }).status, 0);
  });

  it('logs what w complains of', (context) => {
    const outcome = runWith(context, `echo "w: odd" >&2; cat <<'END'\n${SAVED}END`);
    assert.equal(outcome.status, 0);
    assert.match(outcome.stderr, /^warning: w complained: w: odd$/m);
  });

  it('exports 100,000 rows', (context) => {
    const saved = join(scratch(context), 'saved');
    const rows = Array.from({ length: 100_000 }, (_, index) => ({
      ...row,
      user: `u${index % 50_000}`,
      what: `${index}`,
    }));
    writeFileSync(saved, printW(rows, DEFAULT_LAYOUT));
    const outcome = runWith(context, `cat ${saved}`);
    assert.equal(outcome.status, 0);
    assert.equal(soleValue(outcome.exposed, 'ssh_sessions_total'), 100_000);
    assert.equal(labelsOf(outcome.exposed, 'ssh_session_info').length, 100_000);
    assert.equal(labelsOf(outcome.exposed, 'ssh_session_jcpu_seconds').length, 50_000);
  });

  it('keeps the old file, and says what to do, if the new one cannot be written', (context) => {
    const directory = scratch(context);
    mkdirSync(join(directory, 'is.prom'));
    for (const [file, message] of [
      [join(directory, 'is.prom'), /is a directory/],
      [join(directory, 'no', 'x.prom'), /no does not exist; create it/],
      ['/proc/x.prom', /cannot write \/proc\/x\.prom/],
    ] as const) {
      const { status, stderr } = exporter(['-o', file]);
      assert.equal(status, 1);
      assert.match(stderr, /^error: [^\n]+\n$/);
      assert.match(stderr, message);
    }
    assert.deepEqual(readdirSync(directory), ['is.prom']);
  });

  it('marks each line for the journal with its priority', (context) => {
    const directory = scratch(context);
    const env = { JOURNAL_STREAM: '8:1234', PATH: standInW(directory, 'echo garbage') };
    const { stderr } = exporter(['-o', join(directory, 'x.txt'), '--log-level', 'debug'], { env });
    const lines = stderr.trimEnd().split('\n');
    for (const line of lines) assert.match(line, /^<[3467]>(error|warning|info|debug): /);
    assert.ok(lines.some((line) => line.startsWith('<3>error: ')));
    assert.ok(lines.some((line) => line.startsWith('<4>warning: ')));
    assert.ok(
      lines.some((line) => line.startsWith('<7>debug: ')),
      'the stack at this level',
    );
  });

  it('logs at the level debug what a maintainer needs to know', () => {
    const { stderr } = exporter(['-o', '-', '--log-level', 'debug'], { env: { TZ: 'Europe/Berlin' } });
    assert.ok(stderr.includes(`debug: ssh-sessions-exporter ${version}, ${HOST}, run by user 0`), stderr);
    assert.match(stderr, /^debug: w from procps-ng \S+: TZ=Europe\/Berlin PROCPS_USERLEN=32 .* w -i$/m);
    assert.match(stderr, /^debug: (connection of|no connections)/m);
    const without = exporter(['-o', '-', '--log-level', 'debug'], { env: { PATH: '/nowhere' } });
    assert.match(without.stderr, /^debug: w --version failed: .*\n(debug: .*\n)*error: w not found/m);
    const saved = exporter(['-i', '-', '-o', '-', '--log-level', 'debug'], {
      input: `${SAVED}no row\n`,
    }).stderr;
    assert.match(saved, /^debug: 2 rows of w, and 1 that cannot be read$/m);
    assert.match(saved, /^debug: skipped ana on "tty1": "-" is not a remote host$/m);
  });

  it('fails if standard output cannot be written', () => {
    const { status, stderr } = exporter(['-o', '-'], { stdout: '/dev/full' });
    assert.equal(status, 1);
    assert.match(stderr, /^error: cannot write standard output: no space left on device[^\n]+\n$/);
  });
});
