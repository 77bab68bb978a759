"""Find methods, data sets, noises and models by name."""

from bench.registry.confusions import facts_for as facts_for
from bench.registry.lookup import data_sets as data_sets
from bench.registry.lookup import find_declaration as find_declaration
from bench.registry.lookup import load_method as load_method
from bench.registry.lookup import load_plugins as load_plugins
from bench.registry.lookup import methods as methods
from bench.registry.lookup import models as models
from bench.registry.lookup import noise_hash as noise_hash
from bench.registry.lookup import noises as noises
from bench.registry.lookup import open_data_set as open_data_set
from bench.registry.lookup import open_donor as open_donor
from bench.registry.lookup import open_noise as open_noise
from bench.registry.lookup import parse_data_set as parse_data_set
from bench.registry.lookup import parse_noise as parse_noise
from bench.registry.lookup import plugins as plugins
