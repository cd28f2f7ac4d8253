"""The validators of one edge, joined: made out of the configuration, and shown as metrics.

Owns: this wiring. Must not ask anybody or judge; that is `sequencer.validators`.
"""

import logging

from edgeproxy.clock import Clock
from edgeproxy.config import Config
from edgeproxy.config.cosigners import cosigners_of
from edgeproxy.ledger.control import Quorum
from edgeproxy.ledger.note_keys import COSIGNATURE
from edgeproxy.sequencer.sequencer import Sequencer
from edgeproxy.sequencer.validators import Validators
from edgeproxy.telemetry import names
from edgeproxy.telemetry.metrics import Metrics

log = logging.getLogger("edgeproxy.validators")


def make_validators(config: Config, sequencer: Sequencer, clock: Clock) -> Validators | None:
    """Who is asked to cosign, as configured; None when nobody is. Raises ConfigError."""
    found = cosigners_of(config.ledger)
    if found is None:
        return None
    policy, asked = found
    if policy.logs and sequencer.log not in policy.logs.values():
        # After a rotation such a file is behind, which keeps nobody from cosigning.
        log.warning("ledger.policy names other logs than this one, whose key is %s", sequencer.log)
    return Validators(sequencer, policy, asked, clock, config.edge.data)


def quorum_of_browsers(config: Config) -> Quorum | None:
    """The quorum that service workers are to ask for; None where nobody cosigns, and where it cannot be told to them. Raises
    ConfigError."""
    found = cosigners_of(config.ledger)
    if found is None:
        return None
    plain = found[0].plain()
    # Browsers verify Ed25519 alone.
    keys = tuple(str(verifier) for verifier in plain[1] if verifier.kind == COSIGNATURE) if plain is not None else ()
    if plain is None or len(keys) < plain[0]:
        log.warning(
            "service workers do not ask for the validators' quorum: %s",
            "it has groups of groups" if plain is None else "too few of its keys are Ed25519",
        )
        return None
    return Quorum(plain[0], keys)


def open_finality_gauges(metrics: Metrics, validators: Validators) -> None:
    """What is final, how far behind it is, and what each validator answers."""
    gauge, standings = metrics.gauge, validators.standings
    gauge(names.LEDGER_FINAL, lambda: float(validators.final_size or 0))
    gauge(names.LEDGER_LAG_BLOCKS, lambda: float(validators.lag().blocks))
    gauge(names.LEDGER_LAG_SECONDS, lambda: validators.lag().seconds)
    gauge(names.LEDGER_FORK, lambda: float(validators.fork is not None))
    gauge(names.VALIDATOR_ALARMS, lambda: {(each.asked.name,): float(each.alarm is not None) for each in standings})
    gauge(
        names.VALIDATOR_ANSWERS,
        lambda: {
            (each.asked.name, outcome.value): float(count) for each in standings for outcome, count in each.outcomes.items()
        },
    )
