// Numbers as a reader wants to see them.

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** Three significant digits, with a true minus sign; "+" too where the sign carries meaning. */
function formatValue(value, signed = false) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (size >= 1e-3 && size < 1e5) {
    text = size.toFixed(Math.max(0, Math.min(5, 2 - Math.floor(Math.log10(size)))));
  } else {
    const [digits, power] = size.toExponential(2).split("e");
    text = `${digits}×10${[...power.replace("+", "")].map((char) => SUPERSCRIPT[char]).join("")}`;
  }
  return (value < 0 ? "−" : signed ? "+" : "") + text;
}

/** With as many decimals as a quantity measured in steps of `step` deserves. */
function formatStep(value, step) {
  const decimals = Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));
  const text = Math.abs(value).toFixed(decimals);
  return (value < 0 && Number(text) !== 0 ? "−" : "") + text;
}

/** Units that only say "no unit" are not written out beside every number. */
function withUnit(text, unit) {
  return unit && unit !== "unit interval" ? `${text} ${unit === "stored value" ? "" : unit}`.trim() : text;
}

/** The step in which an image's values are worth reading. */
function valueStep(meta) {
  const range = Math.max(meta.range[1] - meta.range[0], 1e-12);
  return meta.scale === 1 ? 1 : 10 ** Math.floor(Math.log10(Math.max(meta.scale, range / 2000)));
}

function imageText(meta, values) {
  const eightBit = meta.channels === 3 && meta.unit === "unit interval";
  const text = eightBit
    ? values.map((value) => Math.round(255 * value)).join(" ")
    : withUnit(values.map((value) => formatStep(value, valueStep(meta))).join(" "), meta.unit);
  return meta.exact ? text : `≈ ${text}`;
}

/** Millimetres of a pixel: with the letters of the patient's sides, or along columns and rows of a film. */
function worldText({ affine, frame }, x, y, slice) {
  const mm = [0, 4, 8].map((at) => affine[at] * x + affine[at + 1] * y + affine[at + 2] * slice + affine[at + 3]);
  if (frame !== "patient") return `${formatStep(mm[0], 0.1)}, ${formatStep(mm[1], 0.1)} mm`;
  return `${mm.map((value, axis) => `${SIDES[axis][value < 0 ? 1 : 0]} ${Math.abs(value).toFixed(1)}`).join(" ")} mm`;
}
