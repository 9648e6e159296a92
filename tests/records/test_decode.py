"""The decoder: what was written comes back, what is broken is named, and neighbours never notice."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import RecordError
from k2.records import column_buffers
from k2.records.avro_arrays import MAXIMUM_PROBES, OVERFLOWED
from k2.records.avro_kernel import walk
from k2.records.column_buffers import ColumnBuffers
from k2.records.decode import BatchDecoder, warm_up
from k2.records.definition import QUOTE, RECORD_TYPES, TRADE
from k2.records.schemas import arrow_schema, avro_schema
from tests.records.record_samples import (
    GOOD,
    SCHEMA_ID,
    body,
    decode,
    good,
    good_message,
    message,
    records,
    rows,
    sized,
    trade_body,
    varint,
)

TRADE_SCHEMA = avro_schema(TRADE)
MAP_SCHEMA = {"type": "record", "name": "One", "fields": TRADE_SCHEMA["fields"][-1:]}
NULL, VALUE = varint(0), varint(1)

# Reason, the field that is named, and the body: each as short of good as it can be.
CRAFTED = {
    "an empty body": ("truncated", "session", b""),
    "a body without its last byte": ("truncated", "vendor_data", trade_body()[:-1]),
    "a surplus byte": ("trailing_bytes", "the record", trade_body() + b"\x00"),
    "a second record behind the first": ("trailing_bytes", "the record", trade_body() + trade_body()),
    "a length beyond the end": ("truncated", "symbol", trade_body(symbol=varint(2**40))),
    "the greatest length there is": ("truncated", "symbol", trade_body(symbol=varint(2**63 - 1) + b"BTC")),
    "a length below zero": ("negative_length", "symbol", trade_body(symbol=varint(-1) + b"BTC")),
    "the lowest length there is": ("negative_length", "trade_id", trade_body(trade_id=VALUE + varint(-(2**63)))),
    "a varint of eleven bytes": ("bad_varint", "session_sequence", trade_body(session_sequence=b"\x80" * 10 + b"\x01")),
    "a varint of 65 bits": ("bad_varint", "event_time_ns", trade_body(event_time_ns=b"\xff" * 9 + b"\x02")),
    "a varint that never ends": ("bad_varint", "session", b"\xff" * 200),
    "a third branch of a union of two": ("bad_union_branch", "venue", trade_body(venue=varint(2))),
    "a branch below zero": ("bad_union_branch", "source_sequence", trade_body(source_sequence=varint(-1))),
    "a fourth symbol of three": ("bad_enum_index", "side", trade_body(side=varint(3))),
    "a symbol below zero": ("bad_enum_index", "asset_class", trade_body(asset_class=varint(-1))),
    "10^28": ("decimal_too_wide", "price", trade_body(price=sized((10**28).to_bytes(12, "big")))),
    "-10^28": ("decimal_too_wide", "price", trade_body(price=sized((-(10**28)).to_bytes(12, "big", signed=True)))),
    "2^127": ("decimal_too_wide", "quantity", trade_body(quantity=sized((2**127).to_bytes(17, "big")))),
    "-2^127": (
        "decimal_too_wide",
        "quantity",
        trade_body(quantity=sized((-(2**127)).to_bytes(16, "big", signed=True))),
    ),
    "2^128, which wraps to zero": ("decimal_too_wide", "price", trade_body(price=sized((2**128).to_bytes(17, "big")))),
    "-2^128 - 1, which wraps to -1": (
        "decimal_too_wide",
        "price",
        trade_body(price=sized((-(2**128) - 1).to_bytes(17, "big", signed=True))),
    ),
    "-2^128, which wraps to zero": (
        "decimal_too_wide",
        "price",
        trade_body(price=sized((-(2**128)).to_bytes(17, "big", signed=True))),
    ),
    "a decimal without bytes": ("empty_decimal", "price", trade_body(price=sized(b""))),
    "a lone continuation byte": ("bad_utf8", "symbol", trade_body(symbol=sized(b"BTC\x80USDT"))),
    "an overlong slash": ("bad_utf8", "session", trade_body(session=sized(b"\xc0\xaf"))),
    "a surrogate": ("bad_utf8", "trade_id", trade_body(trade_id=VALUE + sized(b"\xed\xa0\x80"))),
    "a code point above the last": (
        "bad_utf8",
        "conditions",
        trade_body(conditions=VALUE + sized(b"\xf4\x90\x80\x80")),
    ),
    "a character cut by the string's end": ("bad_utf8", "exchange", trade_body(exchange=sized(b"ASX\xe2\x82"))),
    "a bad map key": (
        "bad_utf8",
        "vendor_data",
        trade_body(vendor_data=varint(1) + sized(b"\xff") + sized(b"") + NULL),
    ),
    "a bad map value": (
        "bad_utf8",
        "vendor_data",
        trade_body(vendor_data=varint(1) + sized(b"") + sized(b"\xff") + NULL),
    ),
    "more entries than bytes": ("bad_block_count", "vendor_data", trade_body(vendor_data=varint(10**15))),
    "the greatest count there is": ("bad_block_count", "vendor_data", trade_body(vendor_data=varint(2**63 - 1))),
    "the lowest count there is": (
        "bad_block_count",
        "vendor_data",
        trade_body(vendor_data=varint(-(2**63)) + varint(0) + NULL),
    ),
    "a block shorter than its size": (
        "bad_block_size",
        "vendor_data",
        trade_body(vendor_data=varint(-1) + varint(3) + sized(b"") + sized(b"") + NULL),
    ),
    "a block longer than its size": (
        "bad_block_size",
        "vendor_data",
        trade_body(vendor_data=varint(-1) + varint(1) + sized(b"") + sized(b"") + NULL),
    ),
    "a block of negative size": (
        "negative_length",
        "vendor_data",
        trade_body(vendor_data=varint(-1) + varint(-2) + sized(b"") + sized(b"") + NULL),
    ),
    "a map without its end": (
        "truncated",
        "vendor_data",
        trade_body(vendor_data=varint(1) + sized(b"k") + sized(b"v")),
    ),
}


class TestWhatWasWrittenComesBack:
    @pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type)
    @settings(max_examples=150)
    @given(data=st.data())
    def test_any_records_in_arrival_order(self, record_type, data):
        written = data.draw(st.lists(records(record_type), max_size=12))
        schema = avro_schema(record_type)
        batch = decode([message(body(schema, record)) for record in written], record_type)
        assert batch.rejects == ()
        assert batch.columns.schema.equals(arrow_schema(record_type), check_metadata=True)
        assert rows(batch.columns) == written
        assert batch.rows.tolist() == list(range(len(written)))
        assert batch.schema_ids.tolist() == [SCHEMA_ID] * len(written)

    def test_an_empty_batch_has_the_columns_and_no_rows(self):
        batch = decode([])
        assert batch.columns.schema.equals(arrow_schema(TRADE))
        assert (batch.columns.num_rows, batch.rows.size, batch.schema_ids.size, batch.rejects) == (0, 0, 0, ())

    def test_rows_and_schema_ids_are_64_and_32_bits_wide(self):
        batch = decode([good_message(1)])
        assert (batch.rows.dtype, batch.schema_ids.dtype) == (np.int64, np.int32)

    def test_a_symbol_of_a_megabyte(self):
        symbol = "A" * 1_000_000 + "é"
        batch = decode([good_message(1), message(trade_body(symbol=sized(symbol.encode()))), good_message(2)])
        assert [row["symbol"] for row in rows(batch.columns)] == ["SYMBOL-1", symbol, "SYMBOL-2"]

    def test_a_map_of_many_entries_in_several_blocks_with_and_without_sizes(self):
        entries = [(f"key {number}", "value" * (number % 7)) for number in range(5_000)]

        def block(part, *, size):
            raw = b"".join(sized(key.encode()) + sized(value.encode()) for key, value in part)
            return varint(-len(part)) + varint(len(raw)) + raw if size else varint(len(part)) + raw

        raw = (
            block(entries[:3], size=True) + block(entries[3:4000], size=False) + block(entries[4000:], size=True) + NULL
        )
        batch = decode([good_message(1), message(trade_body(vendor_data=raw)), good_message(2)])
        assert batch.columns["vendor_data"].to_pylist()[1] == entries
        assert [row["symbol"] for row in rows(batch.columns)] == ["SYMBOL-1", "BTCUSDT", "SYMBOL-2"]

    @pytest.mark.parametrize("unscaled", [0, 1, -1, 10**28 - 1, 1 - 10**28, -(2**63), 2**63, 255, -256])
    @pytest.mark.parametrize("surplus", [0, 1, 9, 20, 300])
    def test_decimals_with_more_sign_bytes_than_they_need(self, unscaled, surplus):
        needed = (unscaled.bit_length() + 8) // 8
        raw = unscaled.to_bytes(needed + surplus, "big", signed=True)
        batch = decode([message(trade_body(price=sized(raw)))])
        assert rows(batch.columns)[0]["price"] == Decimal(unscaled).scaleb(-10)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_the_limit_of_decimals_is_exact_in_both_words(self, sign):
        limit = 10**28
        high = limit >> 64 << 64
        near = [
            limit - 1,
            limit,
            limit + 1,
            high - 1,
            high,
            high + 2**63 - 1,
            high + 2**63,
            high + 2**64 - 1,
            high + 2**64,
        ]
        batch = decode([message(trade_body(price=sized((sign * n).to_bytes(13, "big", signed=True)))) for n in near])
        read = {
            index: int(row["price"].scaleb(10))
            for index, row in zip(batch.rows.tolist(), rows(batch.columns), strict=True)
        }
        assert read == {index: sign * number for index, number in enumerate(near) if number < limit}
        assert {reject.reason for reject in batch.rejects} == {"decimal_too_wide"}

    def test_utf8_is_what_python_takes_for_utf8(self):
        """Every lead byte before every kind of second byte, then continuations, ASCII, or the end."""
        seconds = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]
        tails = [b"", b"\x80", b"\x80\x80", b"\xbf\xbf", b"a", b"\x80a", b"\x80\xc0", b"\x80\x80\x80"]
        texts = [bytes([lead, second]) + tail for lead in range(0x80, 0x100) for second in seconds for tail in tails]
        batch = decode([message(trade_body(trade_id=VALUE + sized(text))) for text in texts])
        expected = {index: text.decode() for index, text in enumerate(texts) if is_utf8(text)}
        assert dict(zip(batch.rows.tolist(), batch.columns["trade_id"].to_pylist(), strict=True)) == expected
        assert len(batch.rejects) == len(texts) - len(expected)
        assert {reject.reason for reject in batch.rejects} == {"bad_utf8"}

    def test_thousands_of_distinct_symbols_among_bad_messages(self):
        """Dictionaries grow while bad bodies take their entries back."""
        numbers = [number % 3_000 for number in range(9_000)]
        messages = [
            good_message(number) if index % 10 else message(body(TRADE_SCHEMA, good(-index)) + b"\x00")
            for index, number in enumerate(numbers)
        ]
        batch = decode(messages)
        expected = [f"SYMBOL-{number}" for index, number in enumerate(numbers) if index % 10]
        assert batch.columns["symbol"].to_pylist() == expected
        assert batch.columns["symbol"].dictionary.to_pylist() == list(dict.fromkeys(expected))
        assert [reject.index for reject in batch.rejects] == list(range(0, 9_000, 10))

    def test_strings_made_to_collide_are_still_told_apart(self, monkeypatch):
        symbols = colliding_strings(2 * MAXIMUM_PROBES)
        made = []
        monkeypatch.setattr(
            column_buffers.ColumnBuffers, "of", staticmethod(lambda *sizes: made.append(make(*sizes)) or made[-1])
        )
        sent = symbols * 3
        batch = decode([message(trade_body(symbol=sized(symbol.encode()))) for symbol in sent])
        assert made[0].dictionaries.state[:, OVERFLOWED].any(), (
            "the strings no longer collide: mirror the kernel's hash"
        )
        assert batch.columns["symbol"].to_pylist() == sent
        assert batch.columns["symbol"].dictionary.to_pylist() == symbols


make = ColumnBuffers.of


def is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def colliding_strings(count: int) -> list[str]:
    """Strings of eight characters whose hashes share the ten bits that a small dictionary looks at."""
    mask, multiplier = 2**64 - 1, 0x1E3779B97F4A7C15
    found: list[str] = []
    for number in range(10_000_000):
        text = f"{number:08}"
        code = ((8 ^ int.from_bytes(text.encode(), "little")) * multiplier) & mask
        code ^= (code >> 32) | (0xFFFFFFFF00000000 if code >> 63 else 0)
        if code & 1023 == 0:
            found.append(text)
        if len(found) == count:
            break
    return found


class TestBrokenBodies:
    @pytest.mark.parametrize("name", CRAFTED)
    def test_alone(self, name):
        reason, field, broken = CRAFTED[name]
        batch = decode([message(broken)])
        assert batch.columns.num_rows == 0
        assert [(reject.index, reject.stage, reject.reason) for reject in batch.rejects] == [(0, "decode", reason)]
        assert batch.rejects[0].detail.startswith(f"{field} at byte ")
        assert "\n" not in batch.rejects[0].detail

    @pytest.mark.parametrize("name", CRAFTED)
    def test_between_good_neighbours(self, name):
        reason, _, broken = CRAFTED[name]
        batch = decode([good_message(1), message(broken), good_message(2), message(broken), good_message(3)])
        assert rows(batch.columns) == [good(1), good(2), good(3)]
        assert batch.rows.tolist() == [0, 2, 4]
        assert [(reject.index, reject.reason) for reject in batch.rejects] == [(1, reason), (3, reason)]

    def test_all_kinds_at_once(self):
        messages = [good_message(0)]
        for number, (_, _, broken) in enumerate(CRAFTED.values(), start=1):
            messages += [message(broken), good_message(number)]
        batch = decode(messages)
        assert rows(batch.columns) == [good(number) for number in range(len(CRAFTED) + 1)]
        assert [reject.reason for reject in batch.rejects] == [reason for reason, _, _ in CRAFTED.values()]

    @pytest.mark.parametrize("cut", [1, 2, 5, 20])
    @pytest.mark.parametrize("truncated_first", [True, False])
    def test_a_truncated_body_beside_one_with_the_missing_bytes_to_spare(self, cut, truncated_first):
        whole = body(TRADE_SCHEMA, good(5))
        short, long = message(whole[:-cut]), message(whole + whole[-cut:])
        pair = [short, long] if truncated_first else [long, short]
        batch = decode([good_message(1), *pair, good_message(2)])
        assert rows(batch.columns) == [good(1), good(2)]
        reasons = ["truncated", "trailing_bytes"] if truncated_first else ["trailing_bytes", "truncated"]
        assert [reject.reason for reject in batch.rejects] == reasons

    def test_a_body_cut_anywhere_is_truncated_or_claims_more_entries_than_follow(self):
        whole = body(TRADE_SCHEMA, GOOD)
        map_begins = len(whole) - len(body(MAP_SCHEMA, {"vendor_data": GOOD["vendor_data"]}))
        batch = decode([message(whole[:length]) for length in range(len(whole))] + [message(whole)])
        reasons = [reject.reason for reject in batch.rejects]
        assert len(reasons) == len(whole)
        assert set(reasons[: map_begins + 1]) == {"truncated"}
        assert set(reasons[map_begins + 1 :]) == {"truncated", "bad_block_count"}
        assert rows(batch.columns) == [GOOD]

    def test_what_a_bad_body_held_is_not_in_any_column(self):
        stray = {**GOOD, "session": "stray", "symbol": "STRAY", "venue": "STRAY", "vendor_data": {"stray": "stray"}}
        batch = decode([good_message(1), message(body(TRADE_SCHEMA, stray) + b"\x00"), good_message(2)])
        assert rows(batch.columns) == [good(1), good(2)]
        for name in ("session", "symbol", "venue"):
            assert "stray" not in str(batch.columns[name].dictionary.to_pylist()).lower()
        assert "stray" not in str(batch.columns["vendor_data"].keys.to_pylist())

    def test_a_value_first_seen_in_a_bad_body_is_entered_when_it_comes_again(self):
        batch = decode([message(trade_body() + b"\x00"), good_message(1), message(trade_body())])
        assert batch.columns["symbol"].dictionary.to_pylist() == ["SYMBOL-1", "BTCUSDT"]
        assert [row["symbol"] for row in rows(batch.columns)] == ["SYMBOL-1", "BTCUSDT"]


class TestFrames:
    @pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00\x00\x00", b"\x01" + good_message(1)[1:], b"{}\n{}"])
    def test_a_value_without_a_frame(self, value):
        batch = decode([value, good_message(1)])
        assert [(reject.index, reject.reason) for reject in batch.rejects] == [(0, "not_framed")]
        assert rows(batch.columns) == [good(1)]

    def test_a_tombstone(self):
        batch = decode([good_message(1), None, good_message(2), None])
        assert [(reject.index, reject.reason) for reject in batch.rejects] == [(1, "null_value"), (3, "null_value")]
        assert rows(batch.columns) == [good(1), good(2)]

    def test_nothing_but_tombstones(self):
        batch = decode([None, None])
        assert [reject.reason for reject in batch.rejects] == ["null_value", "null_value"]
        assert batch.columns.num_rows == 0

    def test_a_batch_beyond_two_gibibytes_is_refused_before_it_is_joined(self):
        with pytest.raises(RecordError, match="hand over fewer messages"):
            decode([bytes(2**26)] * 33)


def test_one_kernel_serves_every_batch():
    """A second specialisation would cost seconds of compiling in the middle of consuming."""
    warm_up()
    reordered = {**TRADE_SCHEMA, "fields": TRADE_SCHEMA["fields"][::-1]}
    BatchDecoder(TRADE, {1: TRADE_SCHEMA, 2: reordered}).decode([good_message(1, 1), good_message(1, 2)])
    decode([good_message(1), None])
    decode([message(b"")], QUOTE)
    assert len(walk.signatures) == 1
