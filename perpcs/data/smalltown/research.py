"""The vocabulary of the town's small university: research areas, methods, and invented names of systems.

Problems are singular and take no article ("speech recognition"), methods and data are plural ("graph filters", "noisy
recordings"), gains begin with a comparative ("fewer errors"), properties are adjectives that go before a problem. So
every phrase of one kind fits wherever another one does.
"""

import random
from dataclasses import dataclass
from zlib import crc32

from perpcs.data.smalltown.names import HELD_OUT_ONE_IN
from perpcs.data.smalltown.words import phrases, words


@dataclass(frozen=True)
class Area:
    """Word lists of one research area: any entry of one goes with any entry of another."""

    problems: tuple[str, ...]
    """Singular, no article: "speech recognition"."""
    methods: tuple[str, ...]
    """Plural: "graph filters"."""
    data: tuple[str, ...]
    """Plural: "noisy recordings"."""
    gains: tuple[str, ...]
    """With a comparative: "fewer errors"."""
    properties: tuple[str, ...]
    """Adjectives: "robust"."""


def _area(problems: str, methods: str, data: str, gains: str, properties: str) -> Area:
    return Area(phrases(problems), phrases(methods), phrases(data), phrases(gains), words(properties))


AREAS: dict[str, Area] = {
    "language": _area(
        "speech recognition, machine translation, text summarisation, spelling correction, dialect detection, "
        "question answering, grammar checking, name tagging, story generation, word alignment, topic labelling, "
        "handwriting recognition",
        "graph filters, phrase tables, word vectors, syntax trees, letter models, dialogue agents, sentence encoders, "
        "rhyme rules, topic chains, text transducers",
        "noisy recordings, old letters, short messages, court transcripts, bilingual menus, radio interviews, "
        "unlabelled texts, children's stories, product reviews, parliament speeches",
        "fewer errors, clearer sentences, shorter training, better recall, less supervision, richer vocabulary, "
        "fewer labels, lower latency",
        "robust fluent multilingual faithful fast controllable interpretable unsupervised",
    ),
    "vision": _area(
        "face detection, depth estimation, image retrieval, object tracking, scene segmentation, colour correction, "
        "motion capture, texture synthesis, gesture recognition, crack detection, image compression, shadow removal",
        "pixel graphs, contour models, patch encoders, colour histograms, edge detectors, optical networks, "
        "camera arrays, shape priors, scale pyramids, light fields",
        "blurred photographs, street images, night videos, satellite pictures, medical scans, old paintings, "
        "aerial photographs, webcam streams, underwater images, pencil sketches",
        "sharper edges, fewer artefacts, higher resolution, less memory, better contrast, faster inference, "
        "fewer false alarms, lower bandwidth",
        "robust real-time lightweight accurate invariant scalable unsupervised seamless",
    ),
    "robotics": _area(
        "path planning, grasp selection, balance control, terrain mapping, collision avoidance, drone landing, "
        "fruit picking, swarm coordination, tool handling, window cleaning, parcel sorting, stair climbing",
        "reward models, motion primitives, tactile sensors, spring joints, swarm policies, force controllers, "
        "soft grippers, laser scanners, planning graphs, gyro filters",
        "warehouse floors, muddy fields, simulated streets, kitchen scenes, narrow corridors, assembly lines, "
        "rocky slopes, test arenas, crowded rooms, orchard rows",
        "fewer collisions, smoother motion, longer battery life, quicker recovery, less wear, shorter routes, "
        "firmer grips, lower torque",
        "safe agile compliant autonomous reliable adaptive real-time cooperative",
    ),
    "networks": _area(
        "packet routing, intrusion detection, load balancing, spam filtering, cache placement, traffic shaping, "
        "password recovery, fault localisation, link prediction, key exchange, file synchronisation, clock correction",
        "hash tables, gossip protocols, token buckets, routing trees, overlay graphs, queue models, consensus rules, "
        "bloom filters, proxy chains, beacon signals",
        "server logs, home routers, campus networks, mobile phones, mail archives, sensor nodes, wireless meshes, "
        "packet traces, rural antennas, shared disks",
        "lower latency, fewer lost packets, higher throughput, less traffic, shorter queues, fewer outages, "
        "better privacy, smaller tables",
        "secure scalable private decentralised resilient fast reliable anonymous",
    ),
    "medicine": _area(
        "tumour detection, wound healing, sleep monitoring, dosage planning, fever screening, pain assessment, "
        "heart monitoring, stroke prediction, allergy testing, hearing correction, bone imaging, posture training",
        "blood markers, gait sensors, dose curves, ultrasound probes, breathing exercises, protein assays, "
        "skin patches, survival models, nerve stimulators, lens implants",
        "hospital records, elderly patients, night shifts, blood samples, young athletes, clinic visits, "
        "rural hospitals, desk workers, twin pairs, heart scans",
        "fewer side effects, faster recovery, earlier diagnosis, lower doses, shorter stays, less pain, better sleep, "
        "fewer relapses",
        "painless rapid safe portable personalised reliable affordable gentle",
    ),
    "ecology": _area(
        "bird counting, pest control, habitat mapping, pollen tracking, seed dispersal, bat monitoring, "
        "reef restoration, weed removal, hedge planting, fish tagging, insect identification, river cleaning",
        "camera traps, acoustic sensors, nesting boxes, soil probes, genetic barcodes, migration models, "
        "wildflower strips, drift nets, predator decoys, moss carpets",
        "coastal wetlands, mountain meadows, city gardens, pine forests, shallow lakes, abandoned quarries, "
        "island colonies, salt marshes, apple orchards, drained bogs",
        "greater diversity, fewer weeds, larger flocks, cleaner water, less erosion, higher survival, "
        "fewer pesticides, stronger growth",
        "sustainable gentle seasonal automatic cheap large-scale chemical-free long-term",
    ),
    "geology": _area(
        "earthquake prediction, rock dating, landslide warning, cave mapping, ore detection, flood forecasting, "
        "soil classification, glacier monitoring, groundwater tracing, fossil sorting, dune stabilisation, "
        "volcano monitoring",
        "seismic arrays, core samples, gravity maps, isotope ratios, radar profiles, erosion models, crystal lattices, "
        "tilt meters, sediment traps, drill logs",
        "chalk cliffs, desert basins, river deltas, volcanic islands, deep boreholes, frozen soils, limestone caves, "
        "coastal faults, clay layers, alpine valleys",
        "earlier warnings, finer resolution, fewer boreholes, lower uncertainty, deeper coverage, less drilling, "
        "tighter bounds, better maps",
        "timely precise remote continuous accurate non-invasive reliable rapid",
    ),
    "energy": _area(
        "wind forecasting, battery charging, heat storage, grid balancing, leak detection, waste recycling, "
        "demand prediction, solar tracking, boiler tuning, voltage control, fuel blending, home insulation",
        "phase diagrams, salt tanks, tariff models, copper coils, ceramic cells, turbine blades, smart meters, "
        "tidal pumps, mirror arrays, magnetic valves",
        "island grids, office buildings, offshore farms, terraced houses, electric buses, district heaters, "
        "gas pipelines, school roofs, winter loads, dairy farms",
        "lower losses, cheaper power, fewer blackouts, higher yields, longer lifetimes, less carbon, smaller peaks, "
        "cleaner exhaust",
        "efficient low-cost clean stable flexible carbon-free adaptive decentralised",
    ),
    "transport": _area(
        "traffic prediction, bus scheduling, parking guidance, ferry routing, accident analysis, cargo loading, "
        "signal timing, bridge inspection, bicycle sharing, noise reduction, fare collection, road maintenance",
        "flow models, toll gates, queue sensors, timetable graphs, number plates, speed cameras, ticket machines, "
        "asphalt coatings, demand surveys, track circuits",
        "ring roads, night buses, railway stations, harbour districts, mountain passes, school routes, market towns, "
        "level crossings, freight yards, cycle lanes",
        "shorter delays, fewer accidents, lower emissions, emptier roads, quicker boarding, less congestion, "
        "safer crossings, cheaper tickets",
        "punctual safe fair dynamic quiet green predictive accessible",
    ),
    "education": _area(
        "essay grading, maths tutoring, reading practice, exam design, homework planning, peer feedback, "
        "course selection, vocabulary learning, classroom seating, dropout prediction, career counselling, "
        "teacher training",
        "flash cards, quiz games, learning diaries, skill graphs, mentor schemes, picture books, reward points, "
        "video lessons, chess puzzles, hint systems",
        "primary schools, evening classes, shy pupils, village schools, first-year students, online courses, "
        "adult learners, summer camps, mixed classes, trainee teachers",
        "higher marks, better retention, less stress, longer focus, fewer dropouts, greater curiosity, "
        "deeper understanding, quicker progress",
        "playful fair inclusive adaptive affordable collaborative independent effective",
    ),
    "music": _area(
        "chord recognition, tempo tracking, melody generation, instrument tuning, score reading, drum transcription, "
        "playlist selection, rhythm training, voice separation, concert recording, hum removal, genre classification",
        "pitch contours, harmonic filters, beat trackers, wave tables, tone matrices, resonance models, "
        "chord grammars, string sensors, spectral masks, echo maps",
        "folk songs, choir rehearsals, organ recordings, jazz solos, street performances, piano lessons, "
        "vinyl records, brass bands, lullabies, film scores",
        "cleaner sound, fewer wrong notes, warmer timbre, steadier rhythm, less distortion, lower noise, "
        "richer harmony, shorter rehearsals",
        "expressive reliable automatic polyphonic interactive faithful intuitive unsupervised",
    ),
    "history": _area(
        "manuscript dating, map restoration, coin classification, ink analysis, tomb excavation, census linking, "
        "letter transcription, pottery matching, trade modelling, portrait attribution, shipwreck mapping, "
        "archive indexing",
        "carbon profiles, parish registers, family trees, watermark catalogues, tax records, trade graphs, "
        "tree rings, glaze spectra, seal imprints, place names",
        "medieval charters, harbour ledgers, abbey ruins, faded diaries, bronze coins, burial mounds, "
        "village archives, sunken ships, guild accounts, war letters",
        "tighter dates, fewer gaps, clearer origins, less damage, better provenance, fuller catalogues, "
        "faster indexing, fewer forgeries",
        "reliable systematic non-destructive digital precise transparent consistent thorough",
    ),
    "psychology": _area(
        "memory training, stress reduction, attention tracking, habit formation, mood prediction, face recall, "
        "conflict resolution, risk perception, sleep improvement, lie detection, group decision-making, "
        "anxiety screening",
        "diary studies, priming tasks, colour cues, eye trackers, role plays, reaction tests, reminder notes, "
        "trust games, breathing cues, picture tests",
        "shift workers, night nurses, student volunteers, young drivers, twin sisters, office teams, "
        "retired couples, chess players, new parents, bilingual children",
        "less worry, better recall, calmer evenings, quicker decisions, fewer lapses, stronger motivation, "
        "lower bias, greater trust",
        "lasting unobtrusive reliable gentle measurable affordable objective personalised",
    ),
    "economics": _area(
        "price forecasting, fraud detection, tax planning, auction design, rent prediction, credit scoring, "
        "budget allocation, wage comparison, stock management, crop insurance, market entry, debt collection",
        "bidding games, price indices, voucher schemes, utility curves, ledger graphs, cost models, lottery designs, "
        "savings clubs, barter networks, demand curves",
        "corner shops, fish markets, village banks, harvest seasons, family firms, holiday rentals, "
        "flower auctions, small farms, online stores, public tenders",
        "higher profits, lower costs, fewer defaults, fairer prices, less waste, smaller deficits, better forecasts, "
        "steadier incomes",
        "fair transparent profitable truthful stable simple long-term efficient",
    ),
}
"""Area name -> its words."""

AREA_NAMES = tuple(AREAS)
"""The names of the research areas."""

METHOD_ADJECTIVES = words(
    "sparse layered hybrid recursive modular random hidden weighted coupled cyclic adaptive nested greedy parallel "
    "stacked compact fuzzy pruned circular delayed blended folded mirrored local global shared symmetric twisted"
)
"""Adjectives that go with any method."""
METHOD_NOUNS = words(
    "trees kernels graphs rules agents models grids codes chains ensembles matrices templates lattices samplers "
    "encoders automata clusters simulations networks forests"
)
"""Methods of every area, to be used with an adjective."""
METHODS = tuple(f"{adjective} {noun}" for adjective in METHOD_ADJECTIVES for noun in METHOD_NOUNS)
"""Methods of every area: "sparse trees"."""

_CAPS_START = words(
    "SOL VAR MER TAL KOR BRI DEN FAL GRA HEX JOV LUM MIR NOR ORB PEL QUA RIM SAN TER UL VEX WIN XEN YAR ZEN AL BO CA "
    "DI EL FI GO KI LO MU NU PRO RU SE TRI VE"
)
_CAPS_MIDDLE = ("", "", "A", "E", "I", "O", "U", "AN", "EL", "IM", "OR", "AR", "EN", "IS")
_CAPS_END = words("VAR DEX LIN MOS NET RAS TIX BER DO KA LEX MA PAL RON SUL TOR VIS ZO GEN FOR LUX MIN DAR")
_CAMEL_START = words(
    "Tree Path Fast Heron Leaf River Stone Tulip Glass Bird Echo Field Ghost Iron Light Moon Nest Willow "
    "Pearl Quick Rain Salt Tiny Plum Amber Cedar Drift Ember Frost Hazel Ivory Wren Birch Otter Pine Raven Swift "
    "Bri Cal Dor Fen Gil Hux Kel Lor Mel Nar Ol Pem Quin Ren Sel Tam Ul Ver Wen Yar Zan"
)
_CAMEL_END = words(
    "Net Map Bot Sim Lab Flow Mix Rank Sense Scan Link Track Base Core Kit Mind Set Cast Former Gen Hub Tune"
)


def acronym(rng: random.Random, held_out: bool) -> str:
    """The invented name of a system, in capitals or in two humps: "SOLVAR", "TreeNet", "MERADEX-3"."""
    choice = rng.choice
    while True:
        if rng.random() < 0.6:
            start = choice(_CAPS_START)
            name = start + ("" if start[-1] in "AEIOU" else choice(_CAPS_MIDDLE)) + choice(_CAPS_END)
        else:
            start = choice(_CAMEL_START)
            short = len(start) <= 3 and start[-1] not in "aeiou"
            name = start + (choice(_CAPS_MIDDLE).lower() if short else "") + choice(_CAMEL_END)
        # In capitals, so that a name which titles change to capitals or small letters stays on its side.
        if (crc32(name.upper().encode()) % HELD_OUT_ONE_IN == 0) == held_out:
            return f"{name}-{rng.randint(2, 9)}" if rng.random() < 0.12 else name
