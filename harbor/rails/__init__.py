"""What moves money: the worker that carries out effects, and the simulator behind the port that Stripe will use."""
