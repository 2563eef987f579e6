/** A clock that is wrong, or is set while the program runs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { COMMAND, publicDirectory, standInW } from '../support/exporter.ts';
import { readExposition, soleValue } from '../support/exposition.ts';
import { capture } from '../support/process.ts';
import { lacking } from '../support/programs.ts';
import { printLogin } from '../support/w.ts';
import { inZone, readLogin } from '../support/zone.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/Sao_Paulo',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Asia/Kathmandu',
];

const moment = fc.date({
  min: new Date('1970-01-02T00:00:00Z'),
  max: new Date('2068-12-31T00:00:00Z'),
  noInvalidDate: true,
});
const jump = fc.oneof(
  fc.integer({ min: -2 * 60_000, max: 2 * 60_000 }),
  fc.integer({ min: -2 * DAY, max: 2 * DAY }),
  fc.integer({ min: -50 * 365 * DAY, max: 50 * 365 * DAY }),
);

describe('a login time', () => {
  test('is valid, however the clock was set after w ran: 20,000 cases in six zones', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...ZONES),
        moment,
        fc.integer({ min: 0, max: 400 * DAY }),
        jump,
        (zone, then, age, step) =>
          inZone(zone, () => {
            const login = new Date(then.getTime() - age);
            const now = new Date(then.getTime() + step);
            const read = readLogin(printLogin(login, then), now);
            assert.ok(read !== undefined && Number.isFinite(read.getTime()));
            // A clock time or weekday is one of the days around now.
            if (age < 6 * DAY) assert.ok(Math.abs(read.getTime() - now.getTime()) < 8 * DAY);
            // So a clock that is set by whole days moves the login with it.
          }),
      ),
      { numRuns: 20_000 },
    );
  });

  test('on 29 February is read in leap years only', () => {
    const now = new Date('2028-03-20T12:00:00Z');
    inZone('UTC', () => {
      assert.equal(readLogin('29Feb28', now)?.toISOString(), '2028-02-29T00:00:00.000Z');
      assert.equal(readLogin('29Feb24', now)?.toISOString(), '2024-02-29T00:00:00.000Z');
      assert.equal(readLogin('29Feb27', now), undefined);
      // The clock was set back since, and 1900 had no such day.
      assert.equal(readLogin('29Feb00', new Date('2000-02-28T12:00:00Z'))?.getUTCFullYear(), 2000);
      assert.equal(
        readLogin('Tue23', new Date('2028-03-01T12:00:00Z'))?.toISOString(),
        '2028-02-29T23:00:00.000Z',
      );
    });
  });
});

describe('a run', { skip: lacking('/usr/bin/faketime', '/usr/bin/w') }, () => {
  const listing = (
    login: string,
  ) => `echo; echo 'USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT'
    echo 'pi       pts/0    192.0.2.17       ${login}    5.00s  0.05s  0.05s bash'`;

  for (const [what, time, clock] of [
    ['in the year of a machine without a clock', '1970-01-03 00:00:10', '00:00'],
    ['on a leap day', '2028-02-29 23:59:59', '12:00'],
    ['in the hour that a clock change repeats', '2026-10-25 02:30:00', '01:15'],
    ['after the last second of 32 bits', '2038-01-19 03:14:08', '23:19'],
  ] as const) {
    test(`${what} has that time, and no login after it`, async () => {
      const path = standInW(publicDirectory(), listing(clock));
      const env = { PATH: path, TZ: 'Europe/Berlin' };
      const faked = ['faketime', time, ...COMMAND, '--no-connections', '-o', '-'];
      const { status, stdout } = await capture(faked, { env });
      assert.equal(status, 0);
      const exposed = readExposition(stdout);
      const now = inZone('Europe/Berlin', () => new Date(time.replace(' ', 'T')).getTime() / 1000);
      const run = soleValue(exposed, 'ssh_sessions_exporter_last_run_timestamp_seconds');
      const login = soleValue(exposed, 'ssh_session_login_timestamp_seconds');
      assert.ok(Math.abs(run - now) < 30 || Math.abs(run - now - 3600) < 30, `${run} at ${now}`);
      assert.ok(login <= run && login > run - 13 * 3600, `${login} at ${run}`);
      assert.equal(soleValue(exposed, 'ssh_sessions_total'), 1);
    });
  }

  for (const jump of ['-400d', '-13h', '+13h', '+400d']) {
    test(`keeps every session if its clock differs by ${jump} from that of w`, async () => {
      const directory = publicDirectory();
      // w has the true time; only what runs it has the other clock.
      const path = standInW(directory, `unset LD_PRELOAD FAKETIME\n${listing('11:19')}`);
      const env = { PATH: path };
      const { status, stdout, stderr } = await capture(
        ['faketime', '-f', jump, ...COMMAND, '--no-connections', '-o', '-'],
        { env },
      );
      assert.equal(status, 0, stderr);
      const exposed = readExposition(stdout);
      assert.equal(soleValue(exposed, 'ssh_sessions_total'), 1);
      const duration = soleValue(exposed, 'ssh_sessions_exporter_duration_seconds');
      assert.ok(duration >= 0 && duration < 60, `${duration} s`);
    });
  }
});
