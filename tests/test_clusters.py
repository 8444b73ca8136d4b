import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from cjlib.segments.clusters import StableClusters, jaccard, stability_band

QUICK = {"k": (2, 3, 4), "n_bootstraps": 8, "n_rows": 300}
TWO_METHODS = {
    "k-means": KMeans(n_init=5),
    "mixture": GaussianMixture(n_init=2, reg_covar=1e-3, tol=1e-2, max_iter=50),
}


def blobs(seed, kinds=3, size=900, spread=0.8):
    rng = np.random.default_rng(seed)
    # Corners of a simplex: as far from each other as possible, in a random rotation.
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    kind = rng.integers(kinds, size=size)
    return (6 * np.eye(6)[:kinds][kind] + spread * rng.normal(size=(size, 6))) @ turn, kind


class TestJaccard:
    def test_equal_clusterings_under_other_names_are_found_whole(self):
        assert jaccard(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]), 2).tolist() == [1, 1]

    def test_known_overlaps(self):
        # {1,2,3} against {1,2}: 2 of 3; {4} against {3,4}: 1 of 2.
        found = jaccard(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
        assert found.tolist() == pytest.approx([2 / 3, 1 / 2])

    def test_a_cluster_without_members_is_unknown(self):
        assert np.isnan(jaccard(np.array([0, 0]), np.array([0, 0]), 2)[1])


class TestFindsPlantedClusters:
    @pytest.mark.parametrize("seed", range(3))
    def test_number_members_and_stability(self, seed):
        data, kind = blobs(seed)
        model = StableClusters(**QUICK).fit(data)
        assert model.n_clusters_ == 3
        assert adjusted_rand_score(kind, model.labels_) > 0.9
        assert (model.stability_ > 0.75).all()

    def test_mixtures_find_them_too_and_state_their_bic(self):
        data, kind = blobs(0)
        model = StableClusters(GaussianMixture(), **QUICK).fit(data)
        assert adjusted_rand_score(kind, model.labels_) > 0.9
        trials = model.trials_.set_index("k")
        assert trials["bic"].idxmin() == 3

    def test_largest_cluster_comes_first(self):
        data, kind = blobs(1)
        model = StableClusters(**QUICK).fit(np.r_[data, data[kind == 2]])
        sizes = np.bincount(model.labels_)
        assert (np.diff(sizes) <= 0).all()

    def test_new_customers_are_assigned_as_the_learned_ones(self):
        data, _ = blobs(2)
        model = StableClusters(**QUICK).fit(data)
        assert (model.predict(data[:50]) == model.labels_[:50]).all()


class TestMethodsAreExchangeable:
    @pytest.mark.parametrize(
        "method",
        [HDBSCAN(min_cluster_size=40), DBSCAN(eps=0.7), AgglomerativeClustering()],
        ids=lambda method: type(method).__name__,
    )
    @pytest.mark.filterwarnings("error::FutureWarning")
    def test_clusterers_that_cannot_predict_label_everybody_by_the_nearest_centre(self, method):
        data, kind = blobs(3)
        model = StableClusters(method, k=(2, 3, 4), n_bootstraps=8).fit(data)
        assert model.n_clusters_ == 3
        assert adjusted_rand_score(kind, model.labels_) > 0.9
        assert (model.stability_ > 0.75).all()
        far = data[:5] + 100  # noise to any density
        assert set(model.predict(far)) <= {0, 1, 2}

    def test_one_that_finds_its_number_itself_is_tried_once(self):
        data, _ = blobs(3)
        methods = {"density": HDBSCAN(min_cluster_size=40, copy=True), "k-means": KMeans(n_init=5)}
        trials = StableClusters(methods, **QUICK).fit(data).trials_
        assert trials["method"].tolist() == ["density", "k-means", "k-means", "k-means"]
        assert trials["k"].tolist() == [3, 2, 3, 4]

    def test_one_that_finds_only_noise_finds_no_clusters(self):
        noise = np.random.default_rng(0).random((300, 4))
        model = StableClusters(DBSCAN(eps=1e-6), **QUICK).fit(noise)
        assert model.n_clusters_ == 1
        assert (model.trials_["verdict"] == "below").all()


class TestHonesty:
    @pytest.mark.slow
    @pytest.mark.parametrize(("size", "features"), [(400, 2), (600, 4), (600, 10)])
    def test_on_uniform_noise_nothing_reaches_six_tenths(self, size, features):
        noise = np.random.default_rng(size).random((size, features))
        model = StableClusters(TWO_METHODS).fit(noise)
        assert model.n_clusters_ == 1
        assert model.trials_["weakest"].max() < 0.6
        assert np.isnan(model.stability_).all()

    @pytest.mark.slow
    def test_a_long_cloud_is_one_cluster_though_its_halves_are_found_again(self):
        rng = np.random.default_rng(3)
        turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
        model = StableClusters(TWO_METHODS).fit(rng.normal(size=(600, 4)) * [4, 1, 1, 1] @ turn)
        assert model.n_clusters_ == 1
        assert model.trials_["found_again"].max() > 0.8

    def test_bought_or_not_is_stable_and_no_more_than_in_the_reference(self):
        def by_chance(rng):
            bought = rng.random((600, 1)) < 0.4
            return bought * rng.normal(3, 0.3, (600, 2))

        data = by_chance(np.random.default_rng(5))
        model = StableClusters(KMeans(n_init=5), k=(2, 3), reference=by_chance).fit(data)
        assert model.n_clusters_ == 1
        best = model.trials_.nlargest(1, "found_again").squeeze()
        assert best["found_again"] > 0.9
        assert best["without_groups"] > 0.9

    def test_a_trial_hangs_on_nothing_else_that_is_tried(self):
        data, _ = blobs(4)
        alone = StableClusters(KMeans(n_init=5), k=(3,), n_bootstraps=8).fit(data).trials_
        among = StableClusters(KMeans(n_init=5), k=(2, 4, 3), n_bootstraps=8).fit(data).trials_
        figures = ["found_again", "without_groups", "weakest", "lower", "upper"]
        assert (alone.loc[0, figures] == among.query("k == 3").iloc[0][figures]).all()

    def test_an_interval_that_reaches_the_threshold_is_undecided(self):
        model = StableClusters(TWO_METHODS, k=(2, 3, 4, 5), n_bootstraps=8).fit(blobs(5)[0])
        trials = model.trials_
        assert trials["weakest"].between(trials["lower"], trials["upper"]).all()
        held = (trials["lower"] >= 0.6) & (trials["smallest"] >= 0.02)
        assert ((trials["verdict"] == "holds") == held).all()

    def test_customers_who_are_all_alike_are_one_cluster(self):
        model = StableClusters().fit(np.ones((50, 3)))
        assert model.n_clusters_ == 1
        assert (model.labels_ == 0).all()

    def test_same_data_and_seed_give_the_same_figures(self):
        data, _ = blobs(4)
        one, other = (StableClusters(**QUICK).fit(data) for _ in range(2))
        pd.testing.assert_frame_equal(one.trials_, other.trials_)
        assert (one.labels_ == other.labels_).all()

    def test_a_group_of_many_features_weighs_as_much_as_one(self):
        rng = np.random.default_rng(6)
        few, kind = blobs(6)
        many = np.repeat(rng.normal(size=(len(few), 1)), 40, axis=1)
        columns = [f"stage: {place}" for place in range(40)] + list("abcdef")
        data = pd.DataFrame(np.c_[many, few], columns=columns)
        model = StableClusters(**QUICK).fit(data)
        assert adjusted_rand_score(kind, model.labels_) > 0.9

    def test_bands_are_those_in_print(self):
        said = [stability_band(value) for value in (0.9, 0.8, 0.7, 0.5)]
        assert said == ["highly stable", "valid", "a pattern", "not to be trusted"]


@pytest.mark.slow
@parametrize_with_checks([StableClusters(KMeans(n_init=5), k=(2, 3), n_bootstraps=4)])
def test_follows_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def test_groups_in_many_columns_are_seen_beside_loud_single_ones():
    """Kinds who differ in their channels, and in nothing else that is told of them."""
    rng = np.random.default_rng(0)
    kind = np.arange(300) % 3
    X = pd.DataFrame(
        [rng.dirichlet(np.where(np.arange(6) // 2 == one, 10, 2)) for one in kind],
        columns=[f"channel: {name}" for name in "abcdef"],
    ).assign(events=rng.normal(size=300), days=rng.normal(size=300))
    found = StableClusters(KMeans(n_init=3), **QUICK).fit(X)
    assert found.n_clusters_ == 3
    assert adjusted_rand_score(kind, found.labels_) > 0.95
