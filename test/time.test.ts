import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseDuration } from '../src/w/time.ts';
import { printDuration, printLogin } from './support/w.ts';
import { inZone, readLogin } from './support/zone.ts';

/** East and west, summer time north and south of the equator, at midnight, by half an hour, and none. */
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'America/Santiago',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Pacific/Kiritimati',
];

interface Case {
  readonly text: string;
  readonly now: string;
  readonly login: string | undefined;
  readonly zone?: string;
  readonly why: string;
}

/** Times without an offset are local ones of the zone, which is UTC where none is named. */
const LOGINS: readonly Case[] = [
  { text: '11:19', now: '2026-11-23T15:00', login: '2026-11-23T11:19', why: 'earlier today' },
  { text: '11:19', now: '2026-11-23T11:19', login: '2026-11-23T11:19', why: 'this minute' },
  { text: '00:00', now: '2026-11-23T23:59', login: '2026-11-23T00:00', why: 'over 12 hours ago, but today' },
  { text: '00:00', now: '2026-11-23T00:00', login: '2026-11-23T00:00', why: 'at midnight itself' },
  { text: '23:59', now: '2026-11-23T00:00', login: '2026-11-22T23:59', why: 'just before midnight' },
  { text: '12:01', now: '2026-11-23T00:01', login: '2026-11-22T12:01', why: '12 hours ago' },
  { text: '23:30', now: '2027-01-01T08:00', login: '2026-12-31T23:30', why: 'last year' },
  { text: '23:30', now: '2028-03-01T08:00', login: '2028-02-29T23:30', why: 'on a leap day' },
  { text: '09:00', now: '2026-11-23T00:00:10', login: '2026-11-22T09:00', why: 'w ran before midnight' },
  {
    text: '10:00',
    now: '2026-11-23T09:59:30',
    login: '2026-11-23T10:00',
    why: 'the clock was set back since',
  },
  {
    text: '09:00',
    now: '2026-11-23T00:02',
    login: '2026-11-23T09:00',
    why: 'the clock was set back to just after midnight',
  },
  { text: '24:00', now: '2026-11-23T15:00', login: undefined, why: 'no such hour' },
  { text: '11:60', now: '2026-11-23T15:00', login: undefined, why: 'no such minute' },

  {
    text: 'Sun11',
    now: '2026-11-23T15:00',
    login: '2026-11-22T11:00',
    why: 'yesterday, a Monday being today',
  },
  { text: 'Tue23', now: '2026-11-23T15:00', login: '2026-11-17T23:00', why: 'six days ago' },
  { text: 'Tue23', now: '2027-01-01T15:00', login: '2026-12-29T23:00', why: 'last year' },
  { text: 'Sat05', now: '2028-03-01T15:00', login: '2028-02-26T05:00', why: 'over a leap day' },
  { text: 'Sat24', now: '2026-11-23T15:00', login: undefined, why: 'no such hour' },
  { text: 'Foo11', now: '2026-11-23T15:00', login: undefined, why: 'no such day' },

  { text: '23Nov25', now: '2026-11-23T15:00', login: '2025-11-23T00:00', why: 'a year ago' },
  {
    text: '01Jan70',
    now: '2026-11-23T15:00',
    login: '1970-01-01T00:00',
    why: 'a clock that was not set yet',
  },
  { text: '31Dec26', now: '2027-01-20T15:00', login: '2026-12-31T00:00', why: 'last year' },
  { text: '29Feb28', now: '2028-03-20T15:00', login: '2028-02-29T00:00', why: 'a leap day' },
  { text: '29Feb27', now: '2028-03-20T15:00', login: undefined, why: 'no such day that year' },
  { text: '31Apr26', now: '2026-11-23T15:00', login: undefined, why: 'no such day' },
  { text: '00May26', now: '2026-11-23T15:00', login: undefined, why: 'no such day' },
  { text: '11Foo26', now: '2026-11-23T15:00', login: undefined, why: 'no such month' },

  {
    zone: 'Europe/Berlin',
    text: '01:30',
    now: '2026-03-29T03:10+02:00',
    login: '2026-03-29T01:30+01:00',
    why: 'before the clock went forward',
  },
  {
    zone: 'Europe/Berlin',
    text: '03:05',
    now: '2026-03-29T03:10+02:00',
    login: '2026-03-29T03:05+02:00',
    why: 'after it did',
  },
  {
    zone: 'Europe/Berlin',
    text: '02:30',
    now: '2026-10-25T02:40+02:00',
    login: '2026-10-25T02:30+02:00',
    why: 'the hour that comes twice, first',
  },
  {
    zone: 'Europe/Berlin',
    text: '02:50',
    now: '2026-10-25T02:10+01:00',
    login: '2026-10-25T02:50+02:00',
    why: 'the hour that comes twice, login in the first',
  },
  {
    zone: 'America/New_York',
    text: '22:15',
    now: '2026-11-01T06:30-05:00',
    login: '2026-10-31T22:15-04:00',
    why: 'over the night that the clock goes back',
  },
  {
    zone: 'Europe/Berlin',
    text: 'Mon23',
    now: '2026-03-30T00:30+02:00',
    login: '2026-03-23T23:00+01:00',
    why: 'six times 24 hours over a shorter day reach last week',
  },
  {
    zone: 'America/Santiago',
    text: '06Sep26',
    now: '2026-10-01T12:00-03:00',
    login: '2026-09-06T01:00-03:00',
    why: 'a day that began at one',
  },
  {
    zone: 'Asia/Kolkata',
    text: '23:59',
    now: '2027-01-01T00:01+05:30',
    login: '2026-12-31T23:59+05:30',
    why: 'the turn of the year, east',
  },
  {
    zone: 'Pacific/Kiritimati',
    text: 'Thu23',
    now: '2027-01-02T12:00+14:00',
    login: '2026-12-31T23:00+14:00',
    why: 'the turn of the year, further east',
  },

  { text: '', now: '2026-11-23T15:00', login: undefined, why: 'blank' },
  { text: '?', now: '2026-11-23T15:00', login: undefined, why: 'not known' },
  { text: '11:19 ', now: '2026-11-23T15:00', login: undefined, why: 'not trimmed' },
];

describe('LOGIN@', () => {
  for (const { text, now, login, zone = 'UTC', why } of LOGINS) {
    it(`"${text}" at ${now} in ${zone}: ${why}`, () => {
      inZone(zone, () => {
        const parsed = readLogin(text, new Date(now));
        assert.deepEqual(parsed, login === undefined ? undefined : new Date(login));
      });
    });
  }

  for (const zone of ZONES) {
    it(`is read back as w prints it, in ${zone}`, () => {
      inZone(zone, () => {
        const from = Date.UTC(2024, 0, 1) / 1000;
        const to = Date.UTC(2029, 0, 1) / 1000;
        // Ages of all sizes alike, so that every notation and its edges are met.
        const age = fc.oneof(fc.nat(2 * 86_400), fc.nat(8 * 86_400), fc.nat(360 * 86_400));
        fc.assert(
          fc.property(fc.integer({ min: from, max: to }), age, (seconds, ago) => {
            const now = new Date(seconds * 1000);
            const login = new Date((seconds - ago) * 1000);
            const text = printLogin(login, now);
            const parsed = readLogin(text, now);
            assert.ok(parsed !== undefined, text);
            const error = login.getTime() - parsed.getTime();
            const precision = text.includes(':') ? 60_000 : text.length === 5 ? 3_600_000 : 86_400_000;
            // An hour that comes twice cannot be told from the text, and a day of a clock change is longer.
            assert.ok(error >= 0 && error < precision + 3_600_000, `${text}: ${login} read as ${parsed}`);
          }),
          { numRuns: 3000 },
        );
      });
    });
  }
});

describe('durations', () => {
  const cases: readonly [string, number | undefined][] = [
    ['0.00s', 0],
    ['5.00s', 5],
    ['59.99s', 59.99],
    ['60.00s', 60],
    ['1:01', 61],
    ['31:55', 1915],
    ['59:59', 3599],
    ['1:00m', 3600],
    ['1:15m', 4500],
    ['47:59m', 172_740],
    ['2days', 172_800],
    ['12days', 1_036_800],
    ['100days', 8_640_000],
    ['?', undefined],
    ['?xdm?', undefined],
    ['', undefined],
    ['-', undefined],
    ['5s', undefined],
    ['1:15h', undefined],
    ['days', undefined],
  ];
  for (const [text, seconds] of cases) {
    it(`"${text}" is ${seconds === undefined ? 'unknown' : `${seconds} s`}`, () =>
      assert.equal(parseDuration(text), seconds));
  }

  it('are read to the precision that w prints', () => {
    fc.assert(
      fc.property(fc.nat(1e10), (hundredths) => {
        const seconds = hundredths / 100;
        const text = printDuration(seconds).trim();
        const precision = seconds < 61 ? 0.005 : seconds < 3600 ? 1 : seconds < 172_800 ? 60 : 86_400;
        const parsed = parseDuration(text);
        assert.ok(
          parsed !== undefined && Math.abs(seconds - parsed - precision / 2) <= precision / 2 + 0.005,
          text,
        );
      }),
    );
  });
});
