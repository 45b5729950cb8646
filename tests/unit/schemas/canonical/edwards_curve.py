"""Ed25519 by hand, to forge what a strict verifier must refuse. Slow, never constant in time, for tests only."""

import hashlib

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493

Point = tuple[int, int]

NEUTRAL: Point = (0, 1)
_D = -121665 * pow(121666, PRIME - 2, PRIME) % PRIME
_ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = _D * x1 * x2 * y1 * y2 % PRIME
    x = (x1 * y2 + x2 * y1) * pow(1 + product, PRIME - 2, PRIME) % PRIME
    y = (y1 * y2 + x1 * x2) * pow(1 - product, PRIME - 2, PRIME) % PRIME
    return x, y


def multiply(scalar: int, point: Point) -> Point:
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def encode(point: Point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def from_y(y: int) -> Point | None:
    """The point with this y and an even x, if there is one."""
    square = (y * y - 1) * pow(_D * y * y + 1, PRIME - 2, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * _ROOT_OF_MINUS_ONE % PRIME
    if (x * x - square) % PRIME:
        return None
    return (PRIME - x if x & 1 else x), y


def base_point() -> Point:
    point = from_y(4 * pow(5, PRIME - 2, PRIME) % PRIME)
    assert point is not None
    return point


def small_order_points() -> list[Point]:
    """The eight points whose eightfold is neutral, the neutral one first."""
    for y in range(2, 64):
        point = from_y(y)
        if point is None:
            continue
        torsion = multiply(ORDER, point)
        if multiply(4, torsion) != NEUTRAL:
            return [multiply(count, torsion) for count in range(8)]
    raise AssertionError("half of all points have a torsion of order eight")


def forge(*, key: bytes, commitment: bytes, secret: int, nonce: int, message: bytes) -> bytes:
    """A signature with any encodings of A and R: S = nonce + hash · secret."""
    hashed = hashlib.sha512(commitment + key + message).digest()
    challenge = int.from_bytes(hashed, "little") % ORDER
    return commitment + ((nonce + challenge * secret) % ORDER).to_bytes(32, "little")
