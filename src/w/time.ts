/** English, because w is run with LC_ALL=C.UTF-8. */
const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** The forms in which w prints a login time: print_logintime in procps' w.c. */
const CLOCK = /^(\d\d):(\d\d)$/;
const WEEKDAY = new RegExp(`^(${WEEKDAYS.join('|')})(\\d\\d)$`);
const DATE = new RegExp(`^(\\d\\d)(${MONTHS.join('|')})(\\d\\d)$`);

/** These forms as wide as w prints them, eight bytes. */
export const LOGIN = / \d\d:\d\d {2}| [A-Z][a-z]{2}\d\d {2}| \d\d[A-Z][a-z]{2}\d\d/y;

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** w prints the clock time of logins from up to 12 hours ago, and cuts off their seconds. */
const CLOCK_REACH = 12 * HOUR + MINUTE;

/** When w was run and where: the time zone is that of w. All times are in milliseconds. */
export interface Moment {
  /** Unix time. */
  readonly now: number;
  /** By how many seconds local time is ahead of UTC at a moment of Unix time. */
  readonly utcOffset: (time: number) => number;
}

/**
 * The moment that a LOGIN@ stands for: the start of the minute (`11:19`), hour (`Mon11`) or day (`23Nov26`) that w
 * names.
 *
 * @param text LOGIN@ without the blanks around it
 * @returns Unix time in milliseconds; undefined when the text is none of w's forms, or names a time that does not exist
 */
export function parseLogin(text: string, moment: Moment): number | undefined {
  const clock = CLOCK.exec(text);
  if (clock) return atClock(Number(clock[1]), Number(clock[2]), moment);
  const weekday = WEEKDAY.exec(text);
  if (weekday) return onWeekday(WEEKDAYS.indexOf(weekday[1] ?? ''), Number(weekday[2]), moment);
  const date = DATE.exec(text);
  if (date) return onDate(Number(date[1]), MONTHS.indexOf(date[2] ?? ''), Number(date[3]), moment);
  return undefined;
}

/**
 * Reads LOGIN@ of many rows, which share few login times: local time is the most expensive part of a row.
 *
 * @returns takes LOGIN@ as `parseLogin` does, and returns Unix time in seconds
 */
export function loginTimes(moment: Moment): (text: string) => number | undefined {
  const known = new Map<string, number | undefined>();
  return (text) => {
    if (!known.has(text)) known.set(text, parseLogin(text, moment));
    const milliseconds = known.get(text);
    return milliseconds === undefined ? undefined : milliseconds / 1000;
  };
}

/** w prints a clock time for logins up to 12 hours old, and for older ones of the same day. */
function atClock(hour: number, minute: number, moment: Moment): number | undefined {
  if (hour > 23 || minute > 59) return undefined;
  const { now } = moment;
  const today = onDay(moment, 0, hour, minute);
  if (today <= now) return today;
  const yesterday = onDay(moment, -1, hour, minute);
  if (now - yesterday <= CLOCK_REACH) return yesterday;
  // w would not have printed either at this moment. Just after midnight, w ran before it, on the day of the
  // login. Else the clock was set back since the login.
  return now - onDay(moment, 0, 0, 0) < MINUTE ? yesterday : today;
}

/**
 * w prints weekday and hour for logins of another day, up to six times 24 hours ago. That reaches the
 * same weekday only if a clock change made the days between longer, and then it is last week's.
 */
function onWeekday(weekday: number, hour: number, moment: Moment): number | undefined {
  if (hour > 23) return undefined;
  const today = new Date(toLocal(moment)).getUTCDay();
  return onDay(moment, -((today - weekday + 7) % 7 || 7), hour, 0);
}

/** The year has two digits. A login is never in the future: such a date is of the previous century. */
function onDate(day: number, month: number, year: number, moment: Moment): number | undefined {
  const days = [2000, 1900]
    .map((century) => Date.UTC(century + year, month, day))
    .filter((local) => new Date(local).getUTCDate() === day);
  const local = days.find((each) => each <= toLocal(moment)) ?? days[0];
  return local === undefined ? undefined : toUnix(local, moment);
}

function onDay(moment: Moment, days: number, hour: number, minute: number): number {
  const midnight = Math.floor(toLocal(moment) / DAY) * DAY;
  return toUnix(midnight + days * DAY + hour * HOUR + minute * MINUTE, moment);
}

/** Local time, as if it were UTC. */
const toLocal = ({ now, utcOffset }: Moment) => now + utcOffset(now) * 1000;

/**
 * The moment of a local time: the first of two; of one that a clock change skips, as long after the change as it would
 * have been. QuickJS's own Date is wrong for hours around a clock change.
 *
 * @param local the time shown, as if it were UTC
 */
function toUnix(local: number, { utcOffset }: Moment): number {
  const before = utcOffset(local - DAY) * 1000;
  const after = utcOffset(local + DAY) * 1000;
  const shownAfter = utcOffset(local - after) * 1000 === after;
  return utcOffset(local - before) * 1000 !== before && shownAfter ? local - after : local - before;
}

/**
 * The forms of IDLE, JCPU and PCPU (print_time_ival7 in procps' w.c), each as wide as w prints it: seven
 * bytes, or more from 100 days on.
 */
export const DURATION = / [ \d]\d(?:\.\d\ds|:\d\d[ m]|\d*days)| {3}\? {3}| \?xdm\? | {7}/y;

const SECONDS = /^\d+\.\d\ds$/;
const MINUTES = /^(\d+):(\d\d)$/;
const HOURS = /^(\d+):(\d\d)m$/;
const DAYS = /^(\d+)days$/;

/**
 * A duration in seconds: `5.00s`, `31:55` (minutes and seconds), `1:15m` (hours and minutes), `12days`.
 *
 * @param text IDLE, JCPU or PCPU without the blanks around it
 * @returns undefined for what w does not know: `?`, `?xdm?`, blank
 */
export function parseDuration(text: string): number | undefined {
  // The most frequent of all.
  if (SECONDS.test(text)) return Number.parseFloat(text);
  const minutes = MINUTES.exec(text);
  if (minutes) return Number(minutes[1]) * 60 + Number(minutes[2]);
  const hours = HOURS.exec(text);
  if (hours) return Number(hours[1]) * 3600 + Number(hours[2]) * 60;
  const days = DAYS.exec(text);
  if (days) return Number(days[1]) * 86_400;
  return undefined;
}
