"""A slow JPEG decoder written from ITU-T T.81 alone: lossless (process 14) and sequential DCT of 8 or 12 bits.

Its only use is to check decoders against something that shares no code with them. One scan, no subsampling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import idctn

_ZIGZAG = sorted(((row, col) for row in range(8) for col in range(8)), key=lambda rc: (sum(rc), rc[1 - sum(rc) % 2]))


class _Bits:
    """Entropy-coded bytes without stuffing, read from the most significant bit on."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position, self.hold, self.count = data, 0, 0, 0

    def peek16(self) -> int:
        while self.count < 32:
            chunk = self.data[self.position : self.position + 4].ljust(4, b"\0")
            self.hold = (self.hold << 32) | int.from_bytes(chunk, "big")
            self.position += 4
            self.count += 32
        return (self.hold >> (self.count - 16)) & 0xFFFF

    def skip(self, bits: int) -> None:
        self.count -= bits
        self.hold &= (1 << self.count) - 1

    def symbol(self, table: list[tuple[int, int]]) -> int:
        length, value = table[self.peek16()]
        self.skip(length)
        return value

    def signed(self, size: int) -> int:
        """The next ``size`` bits as a difference (T.81 F.2.2.1)."""
        if size == 0:
            return 0
        if size == 16:
            return 32768
        value = self.peek16() >> (16 - size)
        self.skip(size)
        return value if value >= 1 << (size - 1) else value - (1 << size) + 1


def _huffman(segment: bytes) -> dict[int, list[tuple[int, int]]]:
    """Tables by class and id: (length, symbol) for each possible next 16 bits."""
    tables = {}
    while segment:
        counts, symbols = segment[1:17], segment[17 : 17 + sum(segment[1:17])]
        table, used, code = [(0, 0)] * 65536, 0, 0
        for length, count in enumerate(counts, start=1):
            for symbol in symbols[used : used + count]:
                start, span = code << (16 - length), 1 << (16 - length)
                table[start : start + span] = [(length, symbol)] * span
                code += 1
            used += count
            code <<= 1
        tables[segment[0]] = table
        segment = segment[17 + len(symbols) :]
    return tables


def decode(frame: bytes) -> NDArray[np.int64]:
    """(H, W, C) samples as stored, without colour conversion."""
    huffman: dict[int, list[tuple[int, int]]] = {}
    quantisation: dict[int, NDArray[np.float64]] = {}
    position, size = 2, (0, 0, 0, 0)
    while True:
        marker, length = frame[position + 1], int.from_bytes(frame[position + 2 : position + 4], "big")
        body = frame[position + 4 : position + 2 + length]
        position += 2 + length
        if marker == 0xC4:
            huffman |= _huffman(body)
        elif marker == 0xDB:
            quantisation |= _quantisation(body)
        elif marker in (0xC0, 0xC1, 0xC3):
            lossless = marker == 0xC3
            size = (body[0], int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5])
            components = [body[6 + 3 * index : 9 + 3 * index] for index in range(body[5])]
        elif marker == 0xDD:
            raise NotImplementedError("restart intervals")
        elif marker == 0xDA:
            break
    tables = [body[2 + 2 * index] for index in range(body[0])]
    bits = _Bits(frame[position:].replace(b"\xff\x00", b"\xff"))
    if lossless:
        predictor, shift = body[1 + 2 * body[0]], body[3 + 2 * body[0]] & 15
        return _lossless(bits, [huffman[table >> 4] for table in tables], size, predictor) << shift
    assert len(components) == 1
    return _sequential(
        bits, huffman[tables[0] >> 4], huffman[0x10 | (tables[0] & 15)], quantisation[components[0][2]], size
    )


def _quantisation(segment: bytes) -> dict[int, NDArray[np.float64]]:
    tables = {}
    while segment:
        width = 2 if segment[0] >> 4 else 1
        values = np.frombuffer(segment[1 : 1 + 64 * width], dtype=f">u{width}")
        table = np.zeros((8, 8))
        for (row, col), value in zip(_ZIGZAG, values, strict=True):
            table[row, col] = value
        tables[segment[0] & 15] = table
        segment = segment[1 + 64 * width :]
    return tables


def _lossless(bits: _Bits, tables: list, size: tuple[int, int, int, int], predictor: int) -> NDArray[np.int64]:
    precision, rows, columns, count = size
    out = np.zeros((rows, columns, count), dtype=np.int64)
    above = [[0] * columns for _ in range(count)]
    for row in range(rows):
        lines = [[0] * columns for _ in range(count)]
        for column in range(columns):
            for component in range(count):
                line, up = lines[component], above[component]
                if column == 0:
                    guess = up[0] if row else 1 << (precision - 1)
                elif row == 0 or predictor == 1:
                    guess = line[column - 1]
                else:
                    left, top, corner = line[column - 1], up[column], up[column - 1]
                    guess = {2: top, 3: corner, 4: left + top - corner, 5: left + ((top - corner) >> 1)}.get(predictor)
                    if guess is None:
                        guess = top + ((left - corner) >> 1) if predictor == 6 else (left + top) >> 1
                line[column] = (guess + bits.signed(bits.symbol(tables[component]))) & 0xFFFF
        for component in range(count):
            out[row, :, component] = lines[component]
        above = lines
    return out


def _sequential(bits: _Bits, dc: list, ac: list, scale: NDArray[np.float64], size: tuple[int, int, int, int]):
    precision, rows, columns, _ = size
    out = np.zeros((-(-rows // 8) * 8, -(-columns // 8) * 8), dtype=np.int64)
    last = 0
    for top in range(0, out.shape[0], 8):
        for left in range(0, out.shape[1], 8):
            block = np.zeros((8, 8))
            last += bits.signed(bits.symbol(dc))
            block[0, 0], index = last, 1
            while index < 64:
                run, magnitude = divmod(bits.symbol(ac), 16)
                if magnitude == 0 and run < 15:
                    break
                index += run
                if magnitude:
                    block[_ZIGZAG[index]] = bits.signed(magnitude)
                index += 1
            samples = np.rint(idctn(block * scale, norm="ortho")) + (1 << (precision - 1))
            out[top : top + 8, left : left + 8] = np.clip(samples, 0, (1 << precision) - 1)
    return out[:rows, :columns, None]
