"""Virtual time, a handler stepper and a simulated network, for users' tests and our own.

`Simulation(pipeline)` is where to start; `World`, `Node` and `Network` are what it is made of.
"""

from pipebus.testing.faults import Faults
from pipebus.testing.network import Network
from pipebus.testing.node import Node
from pipebus.testing.simulation import Simulation
from pipebus.testing.world import World

__all__ = ["Faults", "Network", "Node", "Simulation", "World"]
