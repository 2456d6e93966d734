// Colour tables.

// 17 evenly spaced anchors of matplotlib's inferno and viridis and of cividis (Nunez et al. 2018): lightness grows
// steadily, so that equal steps in value look like equal steps.
const SEQUENTIAL = {
  inferno:
    "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 d04545 e35933 f1711f f98c0a fcaa0f f9c932 f2e865 fcffa4",
  viridis:
    "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1f9f88 27ad81 3dbc74 5cc863 81d34d aadc32 d5e21a fde725",
  cividis:
    "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8b8778 9a9376 aaa073 bbad6d ccba64 ddc858 efd748 fee838",
};

// ColorBrewer's five-class PuOr and RdBu, turned so that warm is positive. Their end colours stay light enough to be
// seen over dark anatomy.
const DIVERGING = {
  "purple-orange": "5e3c99 b2abd2 f7f7f7 fdb863 e66101",
  "blue-red": "0571b0 92c5de f7f7f7 f4a582 ca0020",
};

const colourTables = new Map();

/** 256 RGB triples (Uint8Array of 768) of a colour map. */
function colourTable(name) {
  if (!colourTables.has(name)) {
    const anchors = (SEQUENTIAL[name] || DIVERGING[name]).split(" ").map((hex) => parseInt(hex, 16));
    const table = new Uint8Array(768);
    for (let i = 0; i < 256; i += 1) {
      const position = (i / 255) * (anchors.length - 1);
      const at = Math.min(Math.floor(position), anchors.length - 2);
      const part = position - at;
      for (let c = 0; c < 3; c += 1) {
        const shift = 16 - 8 * c;
        const low = (anchors[at] >> shift) & 255;
        const high = (anchors[at + 1] >> shift) & 255;
        table[3 * i + c] = Math.round(low + part * (high - low));
      }
    }
    colourTables.set(name, table);
  }
  return colourTables.get(name);
}

/** CSS colour at t in [0, 1] of a colour map. */
function colourAt(name, t) {
  const at = 3 * Math.round(255 * Math.min(1, Math.max(0, t)));
  const table = colourTable(name);
  return `rgb(${table[at]}, ${table[at + 1]}, ${table[at + 2]})`;
}

/** 512 packed RGBA colours: sizes 0 to 255 of negative values downwards from 255, of others upwards from 256. */
function packedColours(name, signed, least) {
  const rgb = colourTable(name);
  const packed = new Uint32Array(512);
  for (let step = 0; step < 256; step += 1) {
    const alpha = Math.round(255 * Math.max(least, opacityOf(step / 255)));
    const [up, down] = signed ? [128 + (step >> 1), 127 - (step >> 1)] : [step, step];
    const pack = (at) => (alpha << 24) | (rgb[3 * at + 2] << 16) | (rgb[3 * at + 1] << 8) | rgb[3 * at];
    packed[256 + step] = pack(up);
    packed[255 - step] = pack(down);
  }
  return packed;
}

/** Small values are nearly clear, so that the anatomy stays readable where a map says little. */
function opacityOf(t) {
  return Math.min(1, 1.15 * t ** 1.2);
}
