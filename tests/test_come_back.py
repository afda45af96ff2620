"""What a reload finds again, and for how long."""

import gc

from perpcs.ui.state import _PRIVATE, Records, Studio, to_link


def test_a_record_is_found_by_its_key_while_its_session_lives():
    table, record = Records(), Studio(text="mine")
    table.put(record)
    key = record.key
    assert len(key) > 20
    assert table.take(key) is record
    assert table.take("another") is None
    table.put(record)
    assert record.key == key, "a key is given once"
    del record
    gc.collect()
    assert table.take(key) is None, "the table does not keep anybody"


def test_a_cleared_record_is_not_found():
    table, record = Records(), Studio(text="mine")
    table.put(record)
    table.drop(record.key)
    assert table.take(record.key) is None


def test_what_comes_back_is_no_part_of_a_link():
    record = Studio(text="mine", typed="a question")
    Records().put(record)
    assert record.key not in "".join(to_link(record).values())
    assert all(hasattr(record, name) for name in _PRIVATE)
