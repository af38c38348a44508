from bioseg_cli.api.checks import check as check
from bioseg_cli.api.data import PreparedDataset as PreparedDataset
from bioseg_cli.api.data import open_dataset as open_dataset
from bioseg_cli.api.data import prepare_arrays as prepare_arrays
from bioseg_cli.api.data import prepare_folder as prepare_folder
from bioseg_cli.api.model import Model as Model
from bioseg_cli.api.model import Prediction as Prediction
from bioseg_cli.api.model import load_model as load_model
from bioseg_cli.api.scoring import evaluate as evaluate
from bioseg_cli.api.scoring import run_study as run_study
from bioseg_cli.api.training import BestState as BestState
from bioseg_cli.api.training import TrainedRun as TrainedRun
from bioseg_cli.api.training import train_iic as train_iic
from bioseg_cli.api.training import train_uda as train_uda
from bioseg_cli.checking.result import CheckResult as CheckResult
from bioseg_cli.dataset.reader import Dataset as Dataset
from bioseg_cli.errors import BiosegError as BiosegError
from bioseg_cli.errors import DataError as DataError
from bioseg_cli.errors import Interrupted as Interrupted
from bioseg_cli.errors import PartialFailure as PartialFailure
from bioseg_cli.errors import RunError as RunError
from bioseg_cli.errors import UsageError as UsageError
from bioseg_cli.evaluation.result import EvaluationResult as EvaluationResult
from bioseg_cli.io.pixel_size import PixelSize as PixelSize
from bioseg_cli.study.result import StudyResult as StudyResult
from bioseg_cli.training.watch import TrainingProgress as TrainingProgress

__version__: str
