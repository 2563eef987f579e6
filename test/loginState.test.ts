/** What is kept of sshd's log between runs. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { type LoginLog, readLogins } from '../src/sshd/loginState.ts';
import { TOLERANCE } from '../src/sshd/logins.ts';
import { scratch } from './support/exporter.ts';
import { FakeMachine, MACHINE } from './support/journal.ts';

const accepted = (user: string) => `Accepted password for ${user} from 192.0.2.7 port 4 ssh2`;
const REFUSED = 'Connection closed by invalid user x 192.0.2.7 port 4 [preauth]';
const HOUR = 3600;

interface Run extends LoginLog {
  readonly users: readonly string[];
  readonly refused: number | undefined;
  readonly warnings: readonly string[];
}

class Test {
  readonly directory: string;
  readonly machine: FakeMachine;
  readonly file: string;

  constructor(context: TestContext) {
    this.directory = join(scratch(context), 'state');
    this.machine = new FakeMachine(this.directory);
    this.file = join(this.directory, 'logins');
  }

  run(serving: readonly number[] = []): Run {
    const warnings: string[] = [];
    const log = readLogins(this.machine.host(), 5, serving, (level, message) => {
      if (level !== 'debug') warnings.push(String(message));
    });
    assert.ok(log);
    const users = (log.history?.logins ?? []).map(({ user }) => user);
    return { ...log, users, refused: log.history?.refused, warnings };
  }
}

const summary = ({ success, users, refused, warnings }: Run) => ({ success, users, refused, warnings });
const fine = (refused: number, ...users: string[]) => ({ success: true, users, refused, warnings: [] });

describe('readLogins', () => {
  it('reads 24 hours at first, then what is new, and nothing while the journal is as it was', (context) => {
    const test = new Test(context);
    test.machine.log(
      { message: accepted('old'), age: 25 * HOUR },
      { message: accepted('pi'), age: 23 * HOUR },
      REFUSED,
    );
    assert.deepEqual(summary(test.run()), fine(1, 'pi'));
    assert.deepEqual(summary(test.run()), fine(1, 'pi'));
    assert.equal(test.machine.calls.length, 1);
    test.machine.log(accepted('bob'), REFUSED, REFUSED);
    assert.deepEqual(summary(test.run()), fine(3, 'pi', 'bob'));
    test.machine.touch();
    assert.deepEqual(summary(test.run()), fine(3, 'pi', 'bob'));
    assert.deepEqual(summary(test.run()), fine(3, 'pi', 'bob'));
    assert.equal(test.machine.calls.length, 3);
    test.machine.now += 2 * HOUR * 1000;
    test.machine.uptime += 2 * HOUR;
    assert.deepEqual(summary(test.run()), fine(3, 'bob'));
  });

  it('does not read again what does not matter', (context) => {
    const test = new Test(context);
    for (const message of [accepted('pi'), 'Server listening on :: port 22.', 'Received signal 15']) {
      test.machine.log(message);
      test.run();
    }
    const starts = test.machine.calls.map((words) => words.join(' ').match(/--cursor=\S*?;i=(\w+);/)?.[1]);
    assert.deepEqual(starts, [undefined, '1', '2']);
  });

  it('reads only what sshd itself logged as root', (context) => {
    const test = new Test(context);
    test.machine.log(accepted('pi'));
    test.run();
    const [[command = '', ...words] = []] = test.machine.calls;
    assert.equal(command, 'journalctl');
    const match = words.slice(words.indexOf('_UID=0'));
    assert.deepEqual(match.slice(0, 4), [
      '_UID=0',
      'SYSLOG_IDENTIFIER=sshd',
      'SYSLOG_IDENTIFIER=sshd-session',
      '+',
    ]);
    assert.ok(match.includes('_TRANSPORT=driver') && match.includes('OBJECT_UID=0'));
  });

  it('keeps its file from everyone else, and writes it only when something is new', (context) => {
    const test = new Test(context);
    test.machine.log(accepted('pi'));
    const umask = process.umask(0);
    context.after(() => process.umask(umask));
    test.run();
    assert.equal(statSync(test.file).mode & 0o777, 0o600);
    assert.equal(statSync(test.directory).mode & 0o777, 0o700);
    const before = statSync(test.file).ino;
    test.run();
    assert.equal(statSync(test.file).ino, before);
    assert.deepEqual(readdirSync(test.directory), ['logins']);
  });

  it('carries on where a limit stopped it, oldest first, and skips and repeats nothing', (context) => {
    const test = new Test(context);
    const users = [...Array(40).keys()].map((number) => `u${number}`);
    test.machine.log(
      ...users.flatMap((user) => [accepted(user), REFUSED, 'Server listening on :: port 22.']),
    );
    test.machine.outputLimit = 3000;
    // So that a run of five seconds starts it twice.
    test.machine.cost = 3;
    let run = test.run();
    assert.equal(run.success, false);
    assert.match(run.warnings.join('\n'), /^logins: more log messages of sshd than one run reads/);
    assert.ok(run.users.length > 0 && run.users.length < 40);
    let runs = 1;
    for (; !run.success && runs < 99; runs++) {
      const before = run.users;
      run = test.run();
      assert.deepEqual(run.users.slice(0, before.length), before);
    }
    assert.ok(runs > 3 && runs < 99);
    assert.ok(test.machine.calls.length > runs);
    assert.deepEqual(summary(run), fine(40, ...users));
  });

  it('gives the same in however many runs it is read, and whichever of two runs wrote last', (context) => {
    const step = fc.constantFrom(
      'login',
      'refusal',
      'noise',
      'run',
      'two runs',
      'killed run',
      'lost',
      'damaged',
      'cut',
      'clock ahead',
      'clock back',
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const test = new Test(context);
        const users: string[] = [];
        let refused = 0;
        for (const what of steps) {
          test.machine.outputLimit = what === 'cut' ? 700 : Infinity;
          if (what === 'login') test.machine.log(accepted(`u${users.push(`u${users.length}`) - 1}`));
          if (what === 'refusal') {
            test.machine.log(REFUSED);
            refused++;
          }
          if (what === 'noise') test.machine.log('Server listening on :: port 22.');
          if (what === 'clock ahead') test.machine.now += HOUR * 500;
          if (what === 'clock back') test.machine.now -= HOUR * 500;
          if (what === 'lost') rmSync(test.file, { force: true });
          if (what === 'damaged' && existsSync(test.file)) {
            const bytes = readFileSync(test.file);
            writeFileSync(test.file, bytes.subarray(0, bytes.length / 2));
          }
          if (what === 'run' || what === 'cut') test.run();
          if (what === 'killed run' && existsSync(test.file)) {
            const before = readFileSync(test.file);
            test.run();
            writeFileSync(test.file, before);
          }
          if (what === 'two runs') {
            test.run();
            const first = readFileSync(test.file);
            test.machine.log(accepted(`u${users.push(`u${users.length}`) - 1}`));
            test.run();
            writeFileSync(test.file, first);
          }
        }
        test.machine.outputLimit = Infinity;
        const run = test.run();
        assert.deepEqual(summary(run), fine(refused, ...users));
        // All was a moment ago, wherever the clock was set to.
        for (const { user, time } of run.history?.logins ?? []) {
          assert.ok(Math.abs(test.machine.now - time) <= TOLERANCE, `${user}: ${time}`);
        }
      }),
      { numRuns: 300 },
    );
  });

  const stale: readonly (readonly [string, (test: Test) => void])[] = [
    ['lost', (test) => rmSync(test.directory, { recursive: true })],
    ['empty', (test) => writeFileSync(test.file, '')],
    ['rubbish', (test) => writeFileSync(test.file, Buffer.from([...Array(999).keys()]))],
    ['cut short', (test) => writeFileSync(test.file, readFileSync(test.file).subarray(0, -4))],
    ['of another format', (test) => edit(test, (text) => text.replace('logins 1', 'logins 2'))],
    ['of another machine', (test) => edit(test, (text) => text.replaceAll(MACHINE, 'd'.repeat(32)))],
    ['of another run of the container', (test) => test.machine.processes.set(1, 7)],
    ['of another boot', (test) => edit(test, (text) => text.replaceAll('\t100000.25', '\t100001.25'))],
    ['without a number', (test) => edit(test, (text) => text.replace(/\t\d+\n/, '\t\n'))],
    ['with a field too many', (test) => edit(test, (text) => text.replace('\tpi\t', '\tpi\tpi\t'))],
    ['with an impossible cursor', (test) => edit(test, (text) => text.replace(/\ts=/, '\tx='))],
    ['huge', (test) => writeFileSync(test.file, 'x'.repeat(17 * 1024 * 1024))],
    ['a FIFO', (test) => replaceBy(test, () => mkdirSync(test.file))],
    ['a link', (test) => replaceBy(test, () => symlinkSync('/dev/zero', test.file))],
    ["another account's", (test) => chownSync(test.file, 65_534, 65_534)],
  ];
  for (const [what, spoil] of stale) {
    it(`reads 24 hours again if its file is ${what}`, (context) => {
      const test = new Test(context);
      test.machine.log({ message: accepted('pi'), age: HOUR }, REFUSED);
      test.run();
      spoil(test);
      test.machine.log(accepted('bob'), REFUSED);
      const { success, users, refused } = test.run();
      assert.deepEqual({ success, users, refused }, { success: true, users: ['pi', 'bob'], refused: 2 });
    });
  }

  it('reports the logins from before a reboot, and counts from 0', (context) => {
    const test = new Test(context);
    test.machine.log(accepted('pi'), REFUSED);
    test.run();
    test.machine.log(accepted('late'), REFUSED);
    Object.assign(test.machine, { boot: 'e'.repeat(32), uptime: 10, now: test.machine.now + 60_000 });
    test.machine.log(accepted('bob'), REFUSED);
    assert.deepEqual(summary(test.run()), fine(1, 'pi', 'late', 'bob'));
  });

  it('continues after a vacuum, and skips nothing', (context) => {
    const test = new Test(context);
    test.machine.log(accepted('pi'));
    test.run();
    test.machine.vacuum();
    test.machine.now += 1000;
    test.machine.log(accepted('bob'), accepted('anna'));
    assert.deepEqual(summary(test.run()), fine(0, 'pi', 'bob', 'anna'));
  });

  it('reports a login as new, whatever the clock is set to before the next run', (context) => {
    for (const [step, earliest] of [
      [72 * HOUR, -60],
      [-72 * HOUR, -60],
      [-HOUR / 2, -60],
    ] as const) {
      const test = new Test(context);
      test.run();
      test.machine.uptime += 10;
      test.machine.log(accepted('pi'));
      test.machine.uptime += 5;
      test.machine.now += step * 1000;
      const [login] = test.run().history?.logins ?? [];
      assert.ok(login);
      const age = (test.machine.now - login.time) / 1000;
      assert.ok(age >= 0 && age <= -earliest, `${age} s after a step of ${step} s`);
    }
  });

  it('keeps the age of a login that was read before the clock was set', (context) => {
    for (const steps of [[2], [-2], [72], [-72], [2, -2], [-26, 26], [-26, 26, -0.2], [0.3, 0.3, -72, 71]]) {
      const test = new Test(context);
      test.run();
      const start = test.machine.uptime;
      const logged = new Map<string, number>();
      const logIn = () => {
        const user = `u${logged.size}`;
        logged.set(user, test.machine.uptime - start);
        test.machine.log(accepted(user));
      };
      logIn();
      for (const step of steps) {
        test.run();
        logIn();
        test.machine.uptime += 10;
        test.machine.now += 10_000 + step * HOUR * 1000;
        logIn();
        // The one in between is read before the next step or after it.
        if (step > 0) test.run();
        // Also while the log is as it was.
        for (let run = 0; run < 2; run++) {
          const logins = test.run().history?.logins ?? [];
          const ages = logins.map(({ user, time }) => [user, Math.round((test.machine.now - time) / 1000)]);
          const expected = [...logged].map(([user, at]) => [user, test.machine.uptime - start - at]);
          assert.deepEqual(ages, expected, `${steps}`);
        }
      }
    }
  });

  it('keeps the time of a login from before the boot, unless that is in the future', (context) => {
    for (const [step, age] of [
      [2, 7],
      [-2, 3],
      [-10, 5],
    ] as const) {
      const test = new Test(context);
      test.machine.uptime = 1000;
      test.machine.log({ message: accepted('pi'), boot: 'a'.repeat(32), age: 5 * HOUR });
      test.run();
      test.machine.now += step * HOUR * 1000;
      const [login] = test.run().history?.logins ?? [];
      assert.equal((test.machine.now - (login?.time ?? Number.NaN)) / HOUR / 1000, age);
    }
  });

  it('reads from the earlier time on if the clock was set and sshd had logged nothing', (context) => {
    for (const step of [72, -72]) {
      const test = new Test(context);
      test.run();
      if (step > 0) test.machine.log(accepted('pi'));
      test.machine.now += step * HOUR * 1000;
      if (step < 0) test.machine.log(accepted('pi'));
      assert.deepEqual(test.run().users, ['pi'], `${step}`);
    }
  });

  it('ignores messages that are not text, and entries that lack a field', (context) => {
    const test = new Test(context);
    const bytes = [...Buffer.from(accepted('root'))];
    test.machine.log(accepted('pi'), { message: bytes }, { message: null }, { message: [accepted('root')] });
    test.machine.log({ message: `\n${accepted('root')}` }, { message: `x\u0000${accepted('root')}` });
    assert.deepEqual(summary(test.run()), fine(0, 'pi'));
    test.machine.journalctl = () => ({
      stdout: [
        Buffer.from(
          `null\n[]\n3\n"x"\n{}\n{"MESSAGE":"${accepted('root')}"}\nnot JSON\n{"__CURSOR":1,"MESSAGE":"x","_BOOT_ID":"x"}\n`,
        ),
      ],
      stderr: Buffer.from(''),
      end: 0,
    });
    test.machine.touch();
    assert.deepEqual(summary(test.run()), fine(0, 'pi'));
  });

  it('counts what journald suppressed for a service of sshd, not for the session of a user', (context) => {
    const test = new Test(context);
    test.machine.log({ message: 'Suppressed 41 messages from ssh.service', dropped: 41 });
    test.machine.log({ message: 'Suppressed 1 messages from sshd@3-192.0.2.7:22.service', dropped: 1 });
    test.machine.log({ message: 'Suppressed 900 messages from session-3.scope', dropped: 900 });
    assert.equal(test.run().history?.suppressed, 42);
  });
});

describe('a log that cannot be read', () => {
  const ended =
    (end: 'missing' | 'timeout' | number, stderr = '') =>
    () => ({
      stdout: [],
      stderr: Buffer.from(stderr),
      end,
    });
  for (const [what, journalctl, warning] of [
    ['journalctl is missing', ended('missing'), /^logins: journalctl not found; .*--no-logins$/],
    ['journalctl hangs', ended('timeout'), /^logins: journalctl exceeded the time limit; /],
    [
      'journalctl fails',
      ended(1, 'Failed to open files: Bad message\nmore\n'),
      /^logins: journalctl failed \(1\): Failed to open files: Bad message; /,
    ],
  ] as const) {
    it(`gives one warning, and what was known before, if ${what}`, (context) => {
      const test = new Test(context);
      test.machine.journalctl = journalctl;
      const first = test.run();
      assert.deepEqual(
        { success: first.success, history: first.history },
        { success: false, history: undefined },
      );
      assert.equal(first.warnings.length, 1);
      assert.match(first.warnings[0] ?? '', warning);
      test.machine.journalctl = undefined;
      test.machine.log(accepted('pi'), REFUSED);
      assert.deepEqual(summary(test.run()), fine(1, 'pi'));
      test.machine.journalctl = journalctl;
      test.machine.log(accepted('bob'));
      const again = test.run();
      assert.deepEqual([again.success, again.users, again.refused], [false, ['pi'], 1]);
      test.machine.journalctl = undefined;
      assert.deepEqual(summary(test.run()), fine(1, 'pi', 'bob'));
    });
  }

  it('is read again by the next run if the first one could not find out which boot this is', (context) => {
    const test = new Test(context);
    const slow = ended('timeout');
    test.machine.journalctl = (command) => (command.includes('--lines=1') ? slow() : undefined);
    test.machine.log({ message: accepted('pi'), pid: 7 }, REFUSED);
    test.machine.processes.set(7, test.machine.uptime - 20);
    const { success, history, warnings } = test.run([7]);
    assert.deepEqual([success, history], [false, undefined]);
    assert.match(warnings.join('\n'), /^logins: journalctl exceeded the time limit; /);
    test.machine.journalctl = undefined;
    assert.deepEqual(summary(test.run([7])), fine(1, 'pi'));
    assert.deepEqual([...(test.run([7]).history?.clients ?? [])], [[7, '192.0.2.7']]);
  });

  it('gives a warning without running journalctl if only another account may read it', (context) => {
    const test = new Test(context);
    test.machine.kind = 'unreadable';
    const { success, warnings } = test.run();
    assert.equal(success, false);
    assert.match(
      warnings.join('\n'),
      /^logins: cannot read .*: permission denied; run as root or .*systemd-journal$/,
    );
    assert.equal(test.machine.calls.length, 0);
  });

  it('gives a warning if journald stores nothing, but none on a machine without journald', (context) => {
    const test = new Test(context);
    test.machine.kind = 'no files';
    const { success, warnings } = test.run();
    assert.equal(success, false);
    assert.match(warnings.join('\n'), /^logins: journald stores nothing; .*Storage=.*--no-logins$/);
    test.machine.kind = 'no journald';
    assert.equal(readLogins(test.machine.host(), 5, [], assert.fail), undefined);
    test.machine.kind = 'empty directory';
    test.machine.log(accepted('pi'));
    assert.deepEqual(summary(test.run()), fine(0, 'pi'));
    test.run();
    assert.equal(test.machine.calls.length, 2);
  });
});

describe('what was read of the log', () => {
  it('is exported even if it cannot be kept', (context) => {
    const test = new Test(context);
    writeFileSync(test.directory, '');
    test.machine.log(accepted('pi'), REFUSED);
    for (let run = 0; run < 2; run++) assert.deepEqual(summary(test.run()), fine(1, 'pi'));
    rmSync(test.directory);
    mkdirSync(test.directory);
    chmodSync(test.directory, 0o777);
    const run = test.run();
    assert.deepEqual([run.success, run.users, run.refused], [true, ['pi'], 1]);
    assert.match(
      run.warnings.join('\n'),
      /^logins: cannot write into .*; until then every run reads 24 hours/,
    );
  });

  it("is not kept in another account's directory", {
    skip: process.getuid?.() !== 0 && 'needs root',
  }, (context) => {
    const test = new Test(context);
    mkdirSync(test.directory);
    chownSync(test.directory, 65_534, 65_534);
    test.machine.log(accepted('pi'));
    assert.deepEqual(summary(test.run()), fine(0, 'pi'));
    assert.deepEqual(readdirSync(test.directory), []);
    assert.equal(process.geteuid?.(), 0);
  });
});

describe('the client of a connection', () => {
  it('is known by the process that logged the login, for as long as that runs', (context) => {
    const test = new Test(context);
    test.machine.processes.set(7, 99_000).set(8, 99_000);
    const login = (pid: number, from: string) => ({
      pid,
      message: `Accepted password for pi from ${from} port 4 ssh2`,
    });
    test.machine.log(login(7, '192.0.2.7'), login(8, 'UNKNOWN'), login(9, '192.0.2.9'));
    assert.deepEqual(
      [...(test.run().history?.clients ?? [])],
      [
        [7, '192.0.2.7'],
        [8, ''],
      ],
    );
    test.machine.processes.delete(7);
    test.machine.log(login(8, '192.0.2.8'));
    assert.deepEqual([...(test.run().history?.clients ?? [])], [[8, '192.0.2.8']]);
  });

  it('is not taken from another boot', (context) => {
    const test = new Test(context);
    test.machine.processes.set(42, 99_000);
    test.machine.log({ message: accepted('pi'), boot: 'a'.repeat(32) });
    assert.deepEqual([...(test.run().history?.clients ?? [])], []);
  });
});

describe('a live connection', () => {
  it('makes the log incomplete if its login must be there and is not', (context) => {
    const test = new Test(context);
    test.machine.processes.set(6, test.machine.uptime - 50);
    assert.deepEqual(summary(test.run([6])), fine(0));
    test.machine.uptime += 100;
    test.machine.processes.set(7, test.machine.uptime);
    assert.deepEqual(summary(test.run([6, 7, 99])), fine(0));
    test.machine.uptime += 11;
    const { success, warnings } = test.run([6, 7, 99]);
    assert.equal(success, false);
    assert.match(
      warnings.join('\n'),
      /^logins: the log lacks the login of a live connection \(process 7\); .*LogLevel/,
    );
    test.machine.log({ message: accepted('pi'), pid: 7 });
    assert.deepEqual(summary(test.run([6, 7, 99])), fine(0, 'pi'));
  });
});

function edit(test: Test, change: (text: string) => string): void {
  const before = readFileSync(test.file, 'utf8');
  const after = change(before);
  assert.notEqual(after, before);
  writeFileSync(test.file, after);
}

function replaceBy({ file }: Test, make: () => void): void {
  rmSync(file);
  make();
}
