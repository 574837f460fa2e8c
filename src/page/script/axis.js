// The time axis and the times on it.

// Seconds, days and months between two labels.
const TICK_STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
const DAY_STEPS = [1, 2, 7, 14], MONTH_STEPS = [1, 2, 3, 6, 12];

const isUtc = () => chosen.zone === "utc";
const fieldsOf = (date, utc) => utc ? [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()] : [date.getFullYear(), date.getMonth(), date.getDate()];
const atFields = (year, month, date, seconds = 0) => (isUtc() ? Date.UTC(year, month, date, 0, 0, seconds) : new Date(year, month, date, 0, 0, seconds).getTime()) / 1000;
const dateText = (seconds, options) => new Date(seconds * 1000).toLocaleDateString("en-GB", { ...options, timeZone: timeZone() });
const shortDay = seconds => dateText(seconds, { day: "numeric", month: "short" });
// A time with its day.
const moment = seconds => `${dateText(seconds, { day: "numeric", month: "short", year: "numeric" })} ${clock(seconds)}`;

// Returns the times of labels and their texts; a label is at most once in `least` seconds.
function timeTicks(first, last, least) {
  const ticks = [], every = TICK_STEPS.find(seconds => seconds >= least), put = (at, text) => { if (at >= first && at <= last) ticks.push([at, text]); };
  const [year, month, date] = fieldsOf(new Date(first * 1000), isUtc());
  const days = Math.ceil((last - first) / 86400) + 1, step = DAY_STEPS.find(n => n * 86400 >= least);
  if (every) {
    // from midnight on, so that labels are at whole hours on every day
    for (let day = 0; day <= days; day++) {
      const begin = Math.floor(Math.max(0, first - atFields(year, month, date + day)) / every) * every;
      for (let at = begin; at < 86400 && atFields(year, month, date + day, at) <= last; at += every) {
        const time = atFields(year, month, date + day, at);
        put(time, at === 0 && last - first > 43200 ? shortDay(time) : clock(time, every < 60));
      }
    }
  } else if (step) {
    for (let day = 0; day <= days; day++) {
      const time = atFields(year, month, date + day);
      if (Math.round(time / 86400) % step === 0) put(time, shortDay(time));
    }
  } else {
    const months = MONTH_STEPS.find(n => n * 2592000 >= least) ?? 12;
    for (let n = 0; n <= days / 28; n++) {
      if ((month + n) % months) continue;
      const time = atFields(year, month + n, 1);
      put(time, dateText(time, (month + n) % 12 ? { month: "short" } : { year: "numeric" }));
    }
  }
  return ticks;
}
