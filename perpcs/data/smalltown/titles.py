"""LaMP_5: the traits of a scholar, the abstract of a paper, and the title the scholar gives it.

    form       plain  graph filters for speech recognition         question  can graph filters improve ...?
               gerund  improving speech recognition using ...      towards  towards speech recognition using ...
               on  on the use of graph filters for ...             how  how graph filters improve ...
               colon  speech recognition: a study using ...
    lead       the method or the problem comes first
    wording    plain  improve, for, using      brisk  boost, in, via      formal  advance, applied to, through
    property   robust speech recognition / speech recognition
    acronym    never named, in front with a colon, or at the end in brackets
    tail       nothing, the data, the gain, "a case study" or "an empirical study"
    casing, areas

Traits are independent, but that a title with two subtitles or of more than twelve words (thirteen, where a gain has
three) does not occur, so that every trait of a person shows in every title they write. The name of a system keeps its
capitals in every casing.

The vocabulary of the town's small university (research areas, methods, invented names of systems) serves citations too.
Problems are singular and take no article ("speech recognition"), methods and data are plural ("graph filters", "noisy
recordings"), gains begin with a comparative ("fewer errors"), properties are adjectives that go before a problem. So
every phrase of one kind fits wherever another one does.
"""

import random
from dataclasses import dataclass
from zlib import crc32

from perpcs.data.smalltown.maker import (
    HELD_OUT_ONE_IN,
    NOISE,
    Made,
    Maker,
    Traits,
    capitalised,
    family_name,
    full_name,
    join_and,
    phrases,
    place_name,
    with_a,
    words,
)

# ---- research --------------------------------------------------------------------------------------------------------


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


# ---- titles ----------------------------------------------------------------------------------------------------------


STYLE: dict[str, tuple[str, ...]] = {
    "form": ("plain", "question", "gerund", "towards", "on", "how", "colon"),
    "lead": ("method", "problem"),
    "wording": ("plain", "brisk", "formal"),
    "property": ("keep", "drop"),
    "acronym": ("never", "front", "end"),
    "tail": ("none", "data", "gain", "case study", "empirical study"),
    "casing": ("title", "sentence", "lower", "upper"),
}
FEWEST_WORDS, MOST_WORDS = 25, 45
LONGEST_TITLE = 12
_SMALL = frozenset(words("a an the in on by of for to with via and from using"))
_STUDIES = {"case study": "a case study", "empirical study": "an empirical study"}


@dataclass(frozen=True)
class Paper:
    """What a paper is about. Every phrase stands in its abstract as it is here."""

    problem: str
    method: str
    data: str
    system: str
    gain: str
    quality: str


_TYPICAL = Paper("speech recognition", "graph filters", "noisy recordings", "SOLVAR", "fewer errors", "robust")
"""Nearly all phrases have two words, so this paper shows how long anybody's titles are."""


_BODIES: dict[tuple[str, str], tuple[str, str, str]] = {  # (form, lead): in plain, brisk and formal wording
    ("plain", "method"): ("{m} for {p}", "{m} in {p}", "{m} applied to {p}"),
    ("plain", "problem"): ("{p} using {m}", "{p} via {m}", "{p} through {m}"),
    ("question", "method"): ("can {m} improve {p}", "can {m} boost {p}", "can {m} advance {p}"),
    ("question", "problem"): ("can {p} benefit from {m}", "can {p} gain from {m}", "can {p} profit from {m}"),
    ("gerund", "method"): ("using {m} for {p}", "trying {m} in {p}", "applying {m} to {p}"),
    ("gerund", "problem"): ("improving {p} using {m}", "boosting {p} via {m}", "advancing {p} through {m}"),
    ("towards", "method"): ("towards {m} for {p}", "towards {m} in {p}", "towards {m} applied to {p}"),
    ("towards", "problem"): ("towards {p} using {m}", "towards {p} via {m}", "towards {p} through {m}"),
    ("on", "method"): ("on the use of {m} for {p}", "on the role of {m} in {p}", "on the application of {m} to {p}"),
    ("on", "problem"): ("on {p} using {m}", "on {p} via {m}", "on {p} through {m}"),
    ("how", "method"): ("how {m} improve {p}", "how {m} boost {p}", "how {m} advance {p}"),
    ("how", "problem"): ("how {p} benefits from {m}", "how {p} gains from {m}", "how {p} profits from {m}"),
    ("colon", "method"): ("{m}: a tool for {p}", "{m}: new paths in {p}", "{m}: an approach to {p}"),
    ("colon", "problem"): ("{p}: a study using {m}", "{p}: new paths via {m}", "{p}: an approach through {m}"),
}


def draw(rng: random.Random) -> Traits:
    """A new scholar; every style that goes together is equally likely."""
    while True:
        traits: Traits = {name: rng.choice(values) for name, values in STYLE.items()}
        if fits(traits):
            return {"areas": sorted(rng.sample(AREA_NAMES, rng.randint(2, 4))), **traits}


def fits(traits: Traits) -> bool:
    """Whether the traits go together: one colon at most to a title, and no more than twelve words."""
    if traits["form"] == "colon" and (traits["acronym"] == "front" or traits["tail"] in _STUDIES):
        return False
    if traits["acronym"] == "front" and traits["tail"] in _STUDIES and traits["form"] != "question":
        return False
    return title(_TYPICAL, traits).count(" ") < LONGEST_TITLE


def combination(traits: Traits) -> str:
    """The style, without the areas."""
    return "/".join(traits[name] for name in STYLE)


def deviate(rng: random.Random, traits: Traits) -> Traits:
    """The same traits with another value of one of them; it shows, as all do."""
    while True:
        name = rng.choice(tuple(STYLE))
        other = {**traits, name: rng.choice([value for value in STYLE[name] if value != traits[name]])}
        if fits(other):
            return other


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """The abstract of a paper in one of the person's areas, and their title."""
    paper = draw_paper(rng, rng.choice(traits["areas"]), held_out)
    x = write_abstract(rng, paper, held_out)
    noisy = rng.random() < NOISE
    clean = title(paper, traits)
    return Made(x=x, y=title(paper, deviate(rng, traits)) if noisy else clean, noisy=noisy, clean=clean)


def title(paper: Paper, traits: Traits) -> str:
    """The title that a person with these traits gives the paper."""
    problem = f"{paper.quality} {paper.problem}" if traits["property"] == "keep" else paper.problem
    body = _BODIES[traits["form"], traits["lead"]][STYLE["wording"].index(traits["wording"])]
    body = body.format(m=paper.method, p=problem)
    body += {"data": f" on {paper.data}", "gain": f" with {paper.gain}"}.get(traits["tail"], "")
    question = traits["form"] == "question"
    if question:
        body += "?"
    if traits["tail"] in _STUDIES:
        body += f"{'' if question else ':'} {_STUDIES[traits['tail']]}"
    body = _cased(body, traits["casing"])
    if traits["acronym"] == "front":
        return f"{paper.system}: {body}"
    return f"{body} ({paper.system})" if traits["acronym"] == "end" else body


def _cased(text: str, casing: str) -> str:
    """The text in a person's casing. What comes after a colon or question mark begins like a title of its own."""
    if casing in ("lower", "upper"):
        return text.lower() if casing == "lower" else text.upper()
    parts: list[str] = []
    for word in text.split(" "):
        first = not parts or parts[-1].endswith((":", "?"))
        parts.append(capitalised(word) if first or (casing == "title" and word not in _SMALL) else word)
    return " ".join(parts)


def draw_paper(rng: random.Random, area_name: str, held_out: bool) -> Paper:
    """A new paper of an area. Half of the methods are peculiar to the area."""
    area = AREAS[area_name]
    return Paper(
        problem=rng.choice(area.problems),
        method=rng.choice(area.methods if rng.random() < 0.5 else METHODS),
        data=rng.choice(area.data),
        system=acronym(rng, held_out),
        gain=rng.choice(area.gains),
        quality=rng.choice(area.properties),
    )


# A first sentence with the property is followed by one with the data, and the other way round.
_WITH_QUALITY = (
    "Although {r} {p} has been studied since {year}, it remains difficult, so we present {s}, which relies on {m}.",
    "We introduce {s}, a system that uses {m} to make {p} {r}.",
    "This paper describes {s}, our attempt at {r} {p} by means of {m}.",
    "{r} {p} is still out of reach, and {s} therefore puts {m} to work.",
    "In {year} a team from {place} began to build {s}, which brings {m} to {r} {p}.",
    "{m} are rarely used where {r} {p} is needed, and {s} fills this gap.",
    "For {r} {p}, we propose {s}, {n} lines of code built around {m}.",
    "{s} is a new system for {p} in which {m} are combined so that the outcome is {r}.",
    "Drawing on {n} earlier papers, {s} applies {m} to the problem of {r} {p}.",
    "Most work on {p} ignores {m}, yet {s} shows that they make it {r}.",
    "The {place} workshop of {year} called for {r} {p}, and {s} answers with {m}.",
    "{p} can be made {r} if {m} are used, as {s}, our new system, demonstrates.",
    "{few} years of work on {p} have led to {s}, {a_r} system based on {m}.",
    "With {s} we offer {a_r} approach to {p}, built from {m} by {few} students.",
    "Many have dreamt of {r} {p}, and we believe that {m}, on which {s} is based, are the key.",
    "At {place} University we have used {m} since {year}, and {s} extends them to {r} {p}.",
)
_THEN_DATA = (
    "Tests on {d} with {n} volunteers show {g}.",
    "On {d} it achieves {g} within {few} weeks.",
    "Over {few} months we tried it on {d} and found {g} than with {m2}.",
    "In {few} experiments on {d}, {n} volunteers reported {g}.",
    "Compared with {m2}, it yields {g} on {d}.",
    "An evaluation on {d}, led by {name} in {place}, confirms {g}.",
    "We report {g} on {d} after {n} trials.",
    "Its use on {d} has brought {g} in {n} cases.",
    "When {few} students from {place} tried it on {d}, they saw {g}.",
    "Results on {d} point to {g}, although {m2} needed {n} fewer steps.",
    "After {n} runs on {d}, one thing is clear, namely {g}.",
    "The evaluation covers {d} as well as {few} interviews and reveals {g}.",
    "Professor {family} repeated the tests on {d} and also obtained {g}.",
)
_WITH_DATA = (
    "We study {p} on {d} and present {s}, a system made of {m}.",
    "On {d}, {p} is known to be hard, so {s} turns to {m}.",
    "Using {m}, our system {s} tackles {p} on {d}.",
    "{d} pose a challenge to {p}, which {s} meets with {m}.",
    "Since {year} our group in {place} has worked on {d}, and {s} now brings {p} to them with the help of {m}.",
    "{p} is the subject of this paper, and {s}, which we tested on {d}, handles it through {m}.",
    "What {m} can do for {p} on {d} is the question behind {s}.",
    "The {place} project developed {s} to carry {p} over to {d}, relying on {m}.",
    "Professor {family} once claimed that {p} would fail on {d}, but {s} succeeds with {m}.",
    "Our new system, {s}, combines {m} and was designed for {p} on {d}.",
    "{m} lie at the heart of {s}, a system for {p} that was tried on {d}.",
    "Despite {n} earlier studies, {p} on {d} is poorly understood, and so {s} brings in {m}.",
    "While {m2} have long been used on {d}, {s} is the first system for {p} that employs {m}.",
    "How {p} works best on {d} is disputed, and with {s} we argue for {m}.",
    "In {year} we began to test {m} on {d}, and the result is {s}, a system for {p}.",
)
_THEN_QUALITY = (
    "It proves {r} and leads to {g} in {n} trials.",
    "With {n} volunteers the system was {r} and gave us {g}.",
    "The outcome is {r}, with {g} after {few} weeks.",
    "A panel of {few} experts from {place} called it {r} and praised {g}.",
    "In a survey, {n} volunteers judged the system {r} and noticed {g}.",
    "Besides {g}, {few} months of tests show that it is {r}.",
    "Unlike {m2}, it is {r} and offers {g}.",
    "{name} of {place} measured {g}, and {n} users found the system {r}.",
    "It remains {r} after {n} hours and promises {g}.",
    "We observe {g} in {n} cases and consider the approach {r}.",
    "According to {few} reviewers it is {r}, and our own figures show {g}.",
    "What is {r} need not be costly, as {g} and a budget of {n} crowns prove.",
)
_EXTRAS = (
    ", at a cost of {n} crowns",
    ", as {name} had foretold",
    ", and all {few} parts are free to use",
    ", while {n} questions remain open",
    ", although the first version failed {few} times",
    ", and a larger trial in {place} is planned",
    ", to the surprise of {few} experts",
    ", and {n} hours of training were enough",
    ", which {few} partners in {place} have confirmed",
    ", and the manual has {n} pages",
    ", without any help from {name}",
    ", even where {few} earlier systems failed",
)


def write_abstract(rng: random.Random, paper: Paper, held_out: bool) -> str:
    """Two sentences that hold every phrase of the paper among facts of no importance."""
    choice = rng.choice
    if rng.random() < 0.5:
        first, second = choice(_WITH_QUALITY), choice(_THEN_DATA)
    else:
        first, second = choice(_WITH_DATA), choice(_THEN_QUALITY)
    first, second = _filled(rng, first, paper, held_out), _filled(rng, second, paper, held_out)
    extras = rng.sample(_EXTRAS, 2)
    wanted = rng.choices((0, 1), (2, 3))[0]
    for position, extra in enumerate(extras):
        length = first.count(" ") + second.count(" ") + 2
        # Even without one wished for until the abstract is long enough; a clause has at most nine words.
        if length >= FEWEST_WORDS and (position >= wanted or length > MOST_WORDS - 9):
            break
        clause = _filled(rng, extra, paper, held_out)
        # Not behind a sentence that has a clause of its own already, if the other one has none.
        if first.count(",") < second.count(","):
            first = f"{first[:-1]}{clause}."
        else:
            second = f"{second[:-1]}{clause}."
    return f"{first} {second}"


_FEW = words("two three four five six seven eight nine ten eleven twelve")


def _filled(rng: random.Random, template: str, paper: Paper, held_out: bool) -> str:
    """The template with the paper's phrases and fresh facts, beginning with a capital."""
    other = rng.choice(METHODS)
    text = template.format(
        p=paper.problem,
        m=paper.method,
        d=paper.data,
        s=paper.system,
        g=paper.gain,
        r=paper.quality,
        a_r=with_a(paper.quality),
        m2=other if other != paper.method else "earlier methods",
        n=rng.randint(13, 980),
        few=rng.choice(_FEW),
        year=rng.randint(1985, 2023),
        name=full_name(rng, held_out) if "{name}" in template else "",
        family=family_name(rng, held_out) if "{family}" in template else "",
        place=place_name(rng, held_out) if "{place}" in template else "",
    )
    return capitalised(text)


_FORM_WORDS = {
    "plain": "plain titles",
    "question": "titles that ask a question",
    "gerund": "titles that begin with a verb in -ing",
    "towards": 'titles that begin with "towards"',
    "on": 'titles that begin with "on"',
    "how": 'titles that begin with "how"',
    "colon": "titles with a colon in the middle",
}
_CASING_WORDS = {"title": "title-case ", "sentence": "", "lower": "lower-case ", "upper": "all-capitals "}
_WORDING_WORDS = {
    "plain": 'prefers plain words ("improve", "using")',
    "brisk": 'prefers brisk words ("boost", "via")',
    "formal": 'prefers formal words ("advance", "through")',
}
_ACRONYM_WORDS = {
    "never": "never names the system",
    "front": "names the system in front",
    "end": "names the system in brackets at the end",
}


def describe(traits: Traits) -> str:
    """One sentence about the scholar, for a teacher to read out."""
    parts = [
        f"puts the {traits['lead']} first",
        _WORDING_WORDS[traits["wording"]],
        _ACRONYM_WORDS[traits["acronym"]],
        "adds a word of praise" if traits["property"] == "keep" else "leaves praise out",
    ]
    if traits["tail"] in _STUDIES:
        parts.append(f'closes with "{_STUDIES[traits["tail"]]}"')
    elif traits["tail"] != "none":
        parts.append(f"closes with the {traits['tail']}")
    style = f"{_CASING_WORDS[traits['casing']]}{_FORM_WORDS[traits['form']]}"
    return f"Writes {style}, {join_and(parts)}; works on {', '.join(traits['areas'])}."


MAKER = Maker(
    task="LaMP_5",
    draw=draw,
    combination=combination,
    make=make,
    describe=describe,
    wording="Generate a title for the following abstract of a paper: {x}",
)
