"""What MedMNIST v2 has: its twelve two-dimensional sets, without the pictures."""

from __future__ import annotations

from typing import NamedTuple

from kdbench.data import Task

ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left", "lung-right",
    "pancreas", "spleen",
)  # fmt: skip


class MedicalSet(NamedTuple):
    """One set. `counts` are the items of its official train, validation and test split; `name` the package's class."""

    name: str
    task: Task
    what: str
    counts: tuple[int, int, int]
    classes: tuple[str, ...]
    licence: str = "CC BY 4.0"


SETS = {
    "pathmnist": MedicalSet(
        "PathMNIST", "multiclass", "colon pathology", (89996, 10004, 7180),
        ("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
         "cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
    ),
    "chestmnist": MedicalSet(
        "ChestMNIST", "multilabel", "chest X-rays, fourteen findings", (78468, 11219, 22433),
        ("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
         "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"),
    ),
    "dermamnist": MedicalSet(
        "DermaMNIST", "multiclass", "skin lesions", (7007, 1003, 2005),
        ("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
         "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions"),
        "CC BY-NC 4.0",
    ),
    "octmnist": MedicalSet(
        "OCTMNIST", "multiclass", "retinal OCT", (97477, 10832, 1000),
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    ),
    "pneumoniamnist": MedicalSet(
        "PneumoniaMNIST", "binary", "chest X-rays of children", (4708, 524, 624), ("normal", "pneumonia")
    ),
    "retinamnist": MedicalSet(
        "RetinaMNIST", "multiclass", "fundus, five grades of retinopathy in order", (1080, 120, 400), tuple("01234")
    ),
    "breastmnist": MedicalSet(
        "BreastMNIST", "binary", "breast ultrasound", (546, 78, 156), ("normal, benign", "malignant")
    ),
    "bloodmnist": MedicalSet(
        "BloodMNIST", "multiclass", "blood cells", (11959, 1712, 3421),
        ("basophil", "eosinophil", "erythroblast",
         "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)", "lymphocyte", "monocyte", "neutrophil",
         "platelet"),
    ),
    "tissuemnist": MedicalSet(
        "TissueMNIST", "multiclass", "kidney cortex cells", (165466, 23640, 47280),
        ("Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
         "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
         "Thick Ascending Limb"),
    ),
    "organamnist": MedicalSet("OrganAMNIST", "multiclass", "abdominal CT, axial", (34561, 6491, 17778), ORGANS),
    "organcmnist": MedicalSet("OrganCMNIST", "multiclass", "abdominal CT, coronal", (12975, 2392, 8216), ORGANS),
    "organsmnist": MedicalSet("OrganSMNIST", "multiclass", "abdominal CT, sagittal", (13932, 2452, 8827), ORGANS),
}  # fmt: skip
"""All two-dimensional sets, by the name of their file."""
POSITIVE_FIRST = ("breastmnist",)
"""Sets whose file has the finding as label 0. It is class 1 here: what sensitivity and ROC AUC are of."""


def fetch_command(name: str) -> str:
    """What gets a set: the package's own download, into its own directory."""
    set_name = SETS[name].name
    return f"pip install medmnist && python -c \"import medmnist; medmnist.{set_name}(split='test', download=True)\""
