"""Who the customers are: RFM segments, behaviour clusters, journey types, and their profiles."""

from cjlib.segments.behaviour import behaviour_features, behaviour_sample
from cjlib.segments.cluster_names import name_clusters
from cjlib.segments.clusters import HOLDS, StableClusters
from cjlib.segments.journey_types import find_journey_types
from cjlib.segments.no_groups import NoGroups
from cjlib.segments.profiles import attribute_shares, profiles, readable_profile, verdicts
from cjlib.segments.rfm import (
    migration,
    repeat_share,
    rfm_groups,
    rfm_rules,
    rfm_scores,
    score_ranges,
)
from cjlib.segments.segment_cards import cards, standing_out, typical_journeys
from cjlib.segments.views import Views, agreement

__all__ = [
    "HOLDS",
    "NoGroups",
    "StableClusters",
    "Views",
    "agreement",
    "attribute_shares",
    "behaviour_features",
    "behaviour_sample",
    "cards",
    "find_journey_types",
    "migration",
    "name_clusters",
    "profiles",
    "readable_profile",
    "repeat_share",
    "rfm_groups",
    "rfm_rules",
    "rfm_scores",
    "score_ranges",
    "standing_out",
    "typical_journeys",
    "verdicts",
]
