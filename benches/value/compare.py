"""The same work as the benchmark, by the Python package lifetimes. Reads repeats, recency, age (weeks) and monetary; prints JSON."""

import json
import sys
import time
import warnings

import lifetimes
import numpy
import pandas
import scipy

warnings.simplefilter("ignore")
repeats, recency, age, monetary = numpy.loadtxt(sys.argv[1], delimiter=",", unpack=True)


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


buying, buying_seconds = timed(lambda: lifetimes.BetaGeoFitter().fit(repeats, recency, age))
again = (repeats > 0) & (monetary > 0)
spending, spending_seconds = timed(lambda: lifetimes.GammaGammaFitter().fit(repeats[again], monetary[again]))
alive, alive_seconds = timed(lambda: buying.conditional_probability_alive(repeats, recency, age))
expected, expected_seconds = timed(
    lambda: buying.conditional_expected_number_of_purchases_up_to_time(39.0, repeats, recency, age)
)
print(
    json.dumps(
        {
            "versions": {
                "python": sys.version.split()[0],
                "lifetimes": lifetimes.__version__,
                "numpy": numpy.__version__,
                "scipy": scipy.__version__,
                "pandas": pandas.__version__,
            },
            "buying_seconds": buying_seconds,
            "buying": [float(buying.params_[name]) for name in ("r", "alpha", "a", "b")],
            "spending_seconds": spending_seconds,
            "spending": [float(spending.params_[name]) for name in ("p", "q", "v")],
            "alive_and_expected_seconds": alive_seconds + expected_seconds,
            "expected_total": float(numpy.sum(expected)),
        }
    )
)
