"""Virtual time, a handler stepper and a simulated network, for users' tests and our own."""
