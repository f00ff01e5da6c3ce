"""Token buckets, and what survives of them when connections end."""

from __future__ import annotations

from hisock._core.rates import AddressRates, Allowances, RateLimit


def test_a_bucket_fills_up_to_its_burst() -> None:
    limit = RateLimit(10, 20, 0.0)
    assert limit.allowance(0.0) == 20
    assert limit.spend(25) == 0.5
    assert limit.allowance(0.0) == 0
    assert limit.debt(0.0) == 0.6
    assert limit.allowance(1.0) == 5
    assert limit.debt(1.0) == 0
    assert limit.allowance(100.0) == 20
    assert limit.is_full(100.0)


def test_what_is_owed_can_be_forgiven() -> None:
    limit = RateLimit(10, 20, 0.0)
    limit.spend(1000)
    limit.forgive()
    assert limit.allowance(0.0) == 1
    limit.forgive()
    assert limit.allowance(0.0) == 1


def test_coming_back_brings_no_new_bucket() -> None:
    allowances = Allowances(10, 20)
    spent = 0
    for _ in range(1000):
        limit = allowances.take("10.0.0.1", 0.0)
        allowed = limit.allowance(0.0)
        spent += allowed
        limit.spend(allowed)
        allowances.give_back("10.0.0.1", limit, 0.0)
    assert spent == 20
    assert len(allowances) == 1
    assert allowances.take("10.0.0.2", 0.0).allowance(0.0) == 20
    assert allowances.take("10.0.0.1", 1.0).allowance(1.0) == 10
    assert len(allowances) == 0


def test_clients_behind_one_address_have_a_bucket_each() -> None:
    allowances = Allowances(10, 20)
    one, two = allowances.take("10.0.0.1", 0.0), allowances.take("10.0.0.1", 0.0)
    one.spend(20)
    two.spend(5)
    allowances.give_back("10.0.0.1", one, 0.0)
    allowances.give_back("10.0.0.1", two, 0.0)
    left = [allowances.take("10.0.0.1", 0.0).allowance(0.0) for _ in range(3)]
    assert sorted(left) == [0, 15, 20]


def test_full_buckets_are_not_kept() -> None:
    allowances = Allowances(10, 20)
    limit = allowances.take("10.0.0.1", 0.0)
    limit.spend(20)
    allowances.give_back("10.0.0.1", limit, 2.0)
    assert len(allowances) == 0


def test_the_buckets_that_are_kept_are_bounded() -> None:
    allowances = Allowances(10, 20, most=100)
    for number in range(1000):
        limit = RateLimit(10, 20, 0.0)
        limit.spend(20)
        allowances.give_back(f"10.0.{number // 7}.1", limit, 0.0)
    assert len(allowances) == 100
    assert allowances.take("10.0.0.1", 0.0).allowance(0.0) == 20
    assert allowances.take("10.0.142.1", 0.0).allowance(0.0) == 0


def test_an_address_has_a_rate() -> None:
    rates = AddressRates(1, 3)
    assert [rates.permits("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert rates.permits("b", 0.0)
    assert [rates.permits("a", 1.0) for _ in range(2)] == [True, False]
    assert rates.spend("a", 1.0) == 1.0
    assert rates.spend("a", 1.0) == 2.0


def test_the_addresses_that_are_remembered_are_bounded() -> None:
    rates = AddressRates(1, 1, most=10)
    for number in range(100):
        assert rates.permits(f"10.0.0.{number}", 0.0)
        assert rates.permits("steady", float(number * 10))
    assert len(rates) == 10
    assert not rates.permits("steady", 990.0)
