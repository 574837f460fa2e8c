// Number formats: bits, powers of 1,000.

const PREFIXES = ["", "k", "M", "G", "T", "P"];
function scale(value) {
  if (!Number.isFinite(value)) return ["–", ""];
  let step = 0;
  while (value >= 999.5 && step < PREFIXES.length - 1) { value /= 1000; step++; }
  const digits = value >= 99.95 || step === 0 && value >= 9.95 || value === 0 ? 0 : value >= 9.995 ? 1 : 2;
  return [value.toFixed(digits), PREFIXES[step]];
}
const withUnit = (value, unit) => { const [number, prefix] = scale(value); return `${number} ${prefix}${unit}`; };
// Rates are bytes per second, or packets per second if the reader selects that unit.
const unit = () => CHOICES.unit[chosen.unit];
const perUnit = () => chosen.unit === "bits" ? 8 : 1;
const inPackets = () => chosen.unit === "packets";
const bits = rate => !Number.isFinite(rate) ? "–" : withUnit(rate * perUnit(), unit());
// A rate that is always in bytes per second, such as the speed of a link.
const byteRate = rate => chosen.unit === "bytes" ? withUnit(rate, "B/s") : withUnit(rate * 8, "bit/s");
const packets = rate => withUnit(rate, "p/s");
const percent = part => !Number.isFinite(part) ? "" : part >= 0.0995 ? `${(part * 100).toFixed(0)} %` : part >= 0.00095 || part === 0 ? `${(part * 100).toFixed(1)} %` : "< 0.1 %";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const count = value => !Number.isFinite(value) ? "–" : whole.format(value).replaceAll(",", "\u202f");
const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
const bytes = value => withUnit(value, "B");
const timeZone = () => chosen.zone === "utc" ? "UTC" : undefined;
const clock = (seconds, long) => new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: long ? "2-digit" : undefined, timeZone: timeZone() });
const day = seconds => new Date(seconds * 1000).toLocaleDateString([], { month: "short", day: "numeric", year: "numeric", timeZone: timeZone() });
function span(seconds) {
  seconds = Math.max(0, seconds);
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}
function rateCell(rate, text = bits(rate)) {
  const at = text.lastIndexOf(" ");
  return [text.slice(0, at), make("span", { class: "unit" }, text.slice(at))];
}
