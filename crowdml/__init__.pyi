"""Types of the public names for type checkers; `__init__.py` imports the names."""

from crowdml.aggregation import Aggregation as Aggregation
from crowdml.aggregation import Aggregator as Aggregator
from crowdml.aggregation import Bwa as Bwa
from crowdml.aggregation import Cbcc as Cbcc
from crowdml.aggregation import Crowdlab as Crowdlab
from crowdml.aggregation import DawidSkene as DawidSkene
from crowdml.aggregation import Ebcc as Ebcc
from crowdml.aggregation import Glad as Glad
from crowdml.aggregation import Ibcc as Ibcc
from crowdml.aggregation import Kos as Kos
from crowdml.aggregation import LabelModel as LabelModel
from crowdml.aggregation import Mace as Mace
from crowdml.aggregation import MajorityVote as MajorityVote
from crowdml.aggregation import MinimaxConditional as MinimaxConditional
from crowdml.aggregation import MinimaxCv as MinimaxCv
from crowdml.aggregation import MinimaxEntropy as MinimaxEntropy
from crowdml.aggregation import MinimaxOrdinal as MinimaxOrdinal
from crowdml.aggregation import MMsr as MMsr
from crowdml.aggregation import OnlineDawidSkene as OnlineDawidSkene
from crowdml.aggregation import SpectralEm as SpectralEm
from crowdml.aggregation import Wawa as Wawa
from crowdml.aggregation import ZeroBasedSkill as ZeroBasedSkill
from crowdml.aggregation.bila import Bila as Bila
from crowdml.aggregation.laa import Laa as Laa
from crowdml.experiment.cell import Cell as Cell
from crowdml.experiment.cell import Training as Training
from crowdml.experiment.crowd_types import MachineAnnotators as MachineAnnotators
from crowdml.experiment.crowd_types import Real as Real
from crowdml.experiment.crowd_types import Simulated as Simulated
from crowdml.experiment.run_cell import run_cell as run_cell
from crowdml.labels import CrowdLabels as CrowdLabels
from crowdml.learning.recipe import Recipe as Recipe
from crowdml.methods.from_frames import fit_predict as fit_predict
from crowdml.methods.from_frames import fit_predict_proba as fit_predict_proba
from crowdml.noise import simulate_crowd as simulate_crowd
from crowdml.training.classifier import CrowdClassifier as CrowdClassifier

__version__: str
