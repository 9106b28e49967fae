from tastemaker import journal


def test_acts_are_read_in_the_order_in_which_they_were_done(home):
    assert journal.read(home) == []
    for version in (1, 2, 3):
        journal.append(home, {"act": "promote", "version": version})
    assert [act["version"] for act in journal.read(home)] == [1, 2, 3]


def test_half_a_line_costs_neither_the_acts_before_it_nor_those_after(home):
    journal.append(home, {"act": "promote", "version": 1})
    whole = home.journal.read_bytes()
    for length in range(len(whole)):
        home.journal.write_bytes(whole + whole[:length])
        assert [act["version"] for act in journal.read(home)][:1] == [1]
        journal.append(home, {"act": "rollback", "version": 2})
        assert journal.read(home)[0]["version"] == 1
        assert journal.read(home)[-1] == {"act": "rollback", "version": 2}
