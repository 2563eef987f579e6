/**
 * The forms in which w prints a login time: print_logintime in procps' w.c. Day and month names are
 * English, because w is run with LC_ALL=C.UTF-8.
 */
const CLOCK = /^(\d\d):(\d\d)$/;
const WEEKDAY = /^(Sun|Mon|Tue|Wed|Thu|Fri|Sat)(\d\d)$/;
const DATE = /^(\d\d)(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(\d\d)$/;

/** These forms as wide as w prints them, eight bytes. */
export const LOGIN = / \d\d:\d\d {2}| [A-Z][a-z]{2}\d\d {2}| \d\d[A-Z][a-z]{2}\d\d/y;

const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

const MINUTE = 60_000;
/** w prints the clock time of logins from up to 12 hours ago, and cuts off their seconds. */
const CLOCK_REACH = 12 * 60 * MINUTE + MINUTE;

/**
 * The moment that a LOGIN@ stands for, in the local time zone, which w uses too: the start of the minute
 * (`11:19`), hour (`Mon11`) or day (`23Nov26`) that w names.
 *
 * @param text LOGIN@ without the blanks around it
 * @param now when w was run
 * @returns undefined when the text is none of w's forms, or names a time that does not exist
 */
export function parseLogin(text: string, now: Date): Date | undefined {
  const clock = CLOCK.exec(text);
  if (clock) return atClock(Number(clock[1]), Number(clock[2]), now);
  const weekday = WEEKDAY.exec(text);
  if (weekday) return onWeekday(WEEKDAYS.indexOf(weekday[1] ?? ''), Number(weekday[2]), now);
  const date = DATE.exec(text);
  if (date) return onDate(Number(date[1]), MONTHS.indexOf(date[2] ?? ''), Number(date[3]));
  return undefined;
}

/** w prints a clock time for logins up to 12 hours old, and for older ones of the same day. */
function atClock(hour: number, minute: number, now: Date): Date | undefined {
  if (hour > 23 || minute > 59) return undefined;
  const today = onDay(now, 0, hour, minute);
  if (today <= now) return today;
  const yesterday = onDay(now, -1, hour, minute);
  if (now.getTime() - yesterday.getTime() <= CLOCK_REACH) return yesterday;
  // w would not have printed either at this moment. Just after midnight, w ran before it, on the day of the
  // login. Else the clock was set back since the login.
  const wRanBeforeMidnight = now.getTime() - onDay(now, 0, 0, 0).getTime() < MINUTE;
  return wRanBeforeMidnight ? yesterday : today;
}

/**
 * w prints weekday and hour for logins of another day, up to six times 24 hours ago. That reaches the
 * same weekday only where a clock change made the days between longer, and then it is last week's.
 */
function onWeekday(weekday: number, hour: number, now: Date): Date | undefined {
  if (hour > 23) return undefined;
  const daysAgo = (now.getDay() - weekday + 7) % 7 || 7;
  return onDay(now, -daysAgo, hour, 0);
}

/** The year has two digits: 69 and less is of this century, as strptime(3) has it. */
function onDate(day: number, month: number, year: number): Date | undefined {
  const date = new Date(year + (year < 70 ? 2000 : 1900), month, day);
  return date.getDate() === day ? date : undefined;
}

function onDay(now: Date, days: number, hour: number, minute: number): Date {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, hour, minute);
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
