"""What librdkafka reports, in the engine's words: abort, call again, or stop."""

from confluent_kafka import KafkaError, KafkaException

from harbor.engine.ports import AbortableError, FencedError, RetriableError
from schemas.errors import BrokerUnavailableError, ConfigurationError, PaybondError

# Retrying these never helps: somebody has to change the cluster or the settings.
_CONFIGURATION = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,  # noqa: SLF001 – librdkafka names its own conditions so
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    }
)
# librdkafka reconnects by itself after each of these.
_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001
    }
)


def transaction_error(error: KafkaError) -> AbortableError | RetriableError | FencedError:
    """Of a transactional call. What is neither to be aborted nor repeated has no way on but a new process."""
    if error.fatal():
        return FencedError(str(error))
    if error.txn_requires_abort():
        return AbortableError(str(error))
    if error.retriable() or error.code() in _PASSING:
        return RetriableError(str(error))
    return FencedError(str(error))


def is_passing(error: KafkaError) -> bool:
    """Whether the client recovers from it without anybody's help."""
    return not error.fatal() and (error.retriable() or error.code() in _PASSING)


def outage_of(error: KafkaError) -> PaybondError:
    """Of any other call: BrokerUnavailableError, or ConfigurationError where waiting does not help."""
    if error.code() in _CONFIGURATION:
        return ConfigurationError(f"Kafka says {error}")
    return BrokerUnavailableError(str(error))


def error_behind(system_error: SystemError) -> KafkaError | None:
    """confluent-kafka leaves a fatal error pending while it calls us back, and Python then reports a SystemError."""
    found: BaseException | None = system_error
    while found is not None and not isinstance(found, KafkaException):
        found = found.__cause__ or found.__context__
    return None if found is None else error_of(found)


def error_of(exception: KafkaException) -> KafkaError:
    error = exception.args[0]
    assert isinstance(error, KafkaError)
    return error
