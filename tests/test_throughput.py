import sys

from sim import throughput


def test_the_speed_table_is_printed_for_any_sizes(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["throughput", "--agents", "20", "--n", "50000", "--times", "1"]
    )
    assert throughput.main() == 0
    out = capsys.readouterr().out
    for what in ("fixed order", "shuffled options", "one-seat", "SyncVectorEnv", "20 agents"):
        assert what in out


def test_the_whole_stack_plays_and_asks_as_much_as_its_table_says():
    run = throughput.whole_stack(20)
    assert run["n"] == 120 and run["turns"] >= 120 and run["cpu"] > 0 and run["peak"] > 0
