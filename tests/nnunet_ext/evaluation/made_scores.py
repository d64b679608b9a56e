"""Contents of scores files by hand, for tests of what is drawn of them."""


def structure_scores(values, structure="femur", **others):
    """Contents of a scores file of one structure: Dice by case, None for a failed case; other metrics are equal."""
    cases = {}
    for name, dice in values.items():
        if dice is None:
            cases[name] = {"status": "failed", "error": "no prediction of this name"}
            continue
        volume = {
            "dice": dice,
            "jaccard": dice / (2 - dice),
            "hd95_mm": None if dice == 0 else 10 * (1 - dice),
            **others,
        }
        infinite = ["volume.hd95_mm"] if dice == 0 else []
        parts = {"volume": volume, "slices": {"dice": dice / 2}}
        region = {"volume": {"dice": dice / 4}, "slices": {"dice": dice / 8}}
        cases[name] = {
            "status": "done",
            "structures": {structure: {**parts, "regions": {"head": region}, "infinite": infinite}},
        }
    return {"command": "abbc-evaluate", "kind": "structures", "cases": cases}


def fragment_scores(values):
    """Contents of a scores file of fragments: IoU by case, None for a failed case, the sacrum half as good."""
    cases = {}
    for name, iou in values.items():
        if iou is None:
            cases[name] = {"status": "failed", "error": "unreadable"}
            continue
        case = {"fragment_iou": iou, "fragment_hd95_mm": None, "merge_errors": 1}
        bones = {"sacrum": {"iou": iou / 2}, "left_hip": {"iou": None}}
        infinite = ["case.fragment_hd95_mm"] if iou < 0.5 else []
        cases[name] = {"status": "done", "case": case, "anatomy": bones, "fragments": [], "infinite": infinite}
    return {"command": "abbc-evaluate", "cases": cases}
