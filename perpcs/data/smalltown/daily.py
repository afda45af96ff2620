"""What people in town do all day: the vocabulary of tweets, and the plain sentences put together from it.

A sentence has a head, "I am waiting for the night bus", and a state, "the seats are very cold". Any head of a subject
goes with any state of that subject.
"""

from dataclasses import dataclass

from perpcs.data.smalltown.maker import phrases, words


@dataclass(frozen=True)
class Subject:
    """Heads and word lists of one subject. {A} and {B} in a head stand for a phrase of that list."""

    heads: tuple[tuple[str, str], ...]
    """(tense, pattern): tense is "now", "past" or "future" and decides which time may follow."""
    slots: dict[str, tuple[str, ...]]
    things: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    """(plural nouns, adjectives): any noun goes with any adjective beside it."""


def _subject(now: str, past: str, future: str, a: str, b: str, things: tuple[str, ...]) -> Subject:
    tenses = {"now": phrases(now), "past": phrases(past), "future": phrases(future)}
    groups = [line.split(": ") for line in things]
    return Subject(
        heads=tuple((tense, head) for tense, heads in tenses.items() for head in heads),
        slots={"A": phrases(a), "B": phrases(b)},
        things=tuple((phrases(nouns), words(adjectives)) for adjectives, nouns in groups),
    )


SUBJECTS: dict[str, Subject] = {
    "weather": _subject(
        now="I am walking through {A}, I am watching {A}, I am trying to dodge {A}, I am drying my {B}",
        past="I was running to escape {A}, I went to look for my {B}, I lost my {B}, I was caught in {A}",
        future="I am going to buy a new {B}, I am hoping to miss {A}, I need to pack my {B}",
        a="the rain, the snow, the sleet, the hail, the storm, the fog, the drizzle, the downpour, the thunder, "
        "the wind",
        b="raincoat, umbrella, scarf, bobble hat, parka, cardigan, sun hat, woolly jumper, pair of gloves, "
        "pair of boots",
        things=(
            "cold dark grey nasty wild gloomy heavy: clouds, showers, storms, gusts, winds, skies, blizzards",
            "wet muddy icy slippery messy deep: puddles, lanes, paths, ditches, pavements, fields, gutters",
            "bright lovely warm mild sunny pleasant: mornings, evenings, afternoons, sunsets, spells, breezes",
        ),
    ),
    "food": _subject(
        now="I am eating {A}, I am cooking {A}, I am tasting {A}, I am queueing for {B}, I am sharing {A}",
        past="I tried making {A}, I was eating {A}, I ordered {A} to go, I was craving {B}, I burnt {A}",
        future="I am going to bake {B}, I want to try {A}, I am planning to order {B}, I need to learn cooking {A}",
        a="leek soup, bean stew, lentil curry, onion tart, fish pie, plum jam, rice pudding, mushroom pasta, "
        "pea risotto, "
        "beetroot salad, potato hash, pumpkin soup, cheese toast, garlic noodles",
        b="cinnamon buns, apple cake, cheese scones, fruit pies, oat biscuits, rye bread, ginger cake, lemon tarts, "
        "plum cake, seed loaves, waffles, doughnuts, pancakes, fritters",
        things=(
            "good tasty fresh crispy sweet lovely sticky yummy: buns, biscuits, waffles, muffins, tarts, rolls, "
            "fritters",
            "bland salty soggy greasy burnt cold dry: chips, dumplings, pies, noodles, leftovers, sausages, potatoes",
            "hot spicy tangy rich creamy filling: soups, sauces, curries, stews, pickles, dips, chutneys, casseroles",
        ),
    ),
    "bus": _subject(
        now="I am waiting for the {A} bus, I am sitting on the {A} bus, I am chasing the {A} bus, "
        "I am stuck on the bus carrying {B}",
        past="I missed the {A} bus, I was sleeping on the {A} bus, I left {B} on the bus, I saw {B} riding the {A} bus",
        future="I am going to take the {A} bus, I need to catch the {A} bus, I am hoping to get the {A} bus",
        a="night, morning, last, first, school, slow, express, market, station, harbour, number 7, number 12, "
        "number 48, "
        "number 63, number 95, number 31",
        b="a rucksack, a pot plant, a birthday cake, a cello, two melons, a goldfish, a lamp, a rug, a kite, "
        "a big parcel, "
        "a mop, a wicker basket",
        things=(
            "late slow full packed noisy bumpy rare: buses, night buses, trams, coaches, minibuses, bus rides",
            "cold hard sticky dirty worn wobbly: seats, benches, handrails, steps, bus shelters, windows",
            "kind cheerful patient grumpy chatty calm helpful: drivers, passengers, inspectors, commuters, conductors",
        ),
    ),
    "football": _subject(
        now="I am watching the {A}, I am cheering for the {B}, I am listening to the {A}, I am booing the {B}",
        past="I was shouting at the {B}, I saw the {B} training, I went to the {A}, I slept through the {A}",
        future="I am going to the {A}, I want to meet the {B}, I am hoping to play in the {A}, "
        "I am going to back the {B}",
        a="cup match, derby, home game, away game, cup final, friendly, replay, league opener, charity match, "
        "shoot-out",
        b="goalkeeper, striker, new captain, left back, home team, away team, coach, young winger, reserves, "
        "substitutes",
        things=(
            "good bold quick clever neat solid brave: players, passes, defenders, wingers, tackles, strikers",
            "bad poor slow lazy weak sloppy dull: corners, throw-ins, defenders, free kicks, crosses, substitutes",
            "loud rowdy happy nervous merry hoarse: fans, supporters, crowds, drummers, visitors, "
            "season ticket holders",
        ),
    ),
    "pets": _subject(
        now="I am walking {A}, I am brushing {A}, I am cuddling {A}, I am looking for {A}, I am buying {B} for {A}",
        past="I saw {A} chewing {B}, I was hiding {B} from {A}, I found {A} sleeping on {B}, I took {A} to the vet",
        future="I am going to train {A}, I want to take {A} running, I need to wash {A}, I am going to get {B} for {A}",
        a="my puppy, my old dog, my kitten, my rabbit, my parrot, my hamster, my tortoise, my pony, my tabby cat, "
        "my terrier, "
        "my ferret, my budgie",
        b="a cushion, a slipper, a blanket, a squeaky toy, a rubber bone, a jumper, a straw hat, a tea towel, "
        "a basket, "
        "a woolly sock",
        things=(
            "cute fluffy soft tiny sweet silly playful: kittens, puppies, rabbits, hamsters, ducklings, guinea pigs",
            "naughty greedy cheeky lazy hungry stubborn: cats, terriers, parrots, goats, ponies, ferrets, poodles",
            "dirty smelly muddy wet sandy: paws, collars, dog beds, blankets, baskets, tails, leads",
        ),
    ),
    "work": _subject(
        now="I am working on {A}, I am typing up {A}, I am hiding from {B}, I am training {B}, I am checking {A}",
        past="I was arguing with {B}, I was checking {A}, I forgot to send {A}, I saw {B} sleeping at work",
        future="I am going to hand in {A}, I need to finish {A}, I am meeting {B}, I am going to show {B} my desk",
        a="the report, the budget, the rota, the invoices, the slides, the minutes, the price list, the order forms, "
        "the timesheets, the leaflets",
        b="the boss, the new trainee, the accountant, the caretaker, the whole team, the receptionist, the auditor, "
        "the night shift, the sales team",
        things=(
            "long boring dull pointless slow tiring: meetings, shifts, reports, forms, mornings, phone calls, emails",
            "kind busy funny tired fussy calm grumpy: bosses, colleagues, trainees, managers, clerks, customers",
            "old broken noisy cheap creaky shabby: printers, chairs, desks, keyboards, lifts, kettles, laptops",
        ),
    ),
    "school": _subject(
        now="I am revising for my {A} test, I am doing my {A} homework, I am studying {A}, I am helping {B} with {A}",
        past="I was learning {A}, I saw {B} teaching {A}, I passed my {A} test, I forgot to do my {A} homework",
        future="I am going to drop {A}, I need to pass {A}, I am going to ask {B} about {A}, I want to study {A}",
        a="maths, history, physics, biology, French, art, geography, chemistry, grammar, algebra, geometry, Latin, "
        "spelling",
        b="my class, the new teacher, my little brother, my study group, the head teacher, my cousin, the tutor, "
        "my niece",
        things=(
            "hard long tricky boring tough silly: lessons, tests, exams, essays, quizzes, projects, timetables",
            "nice strict funny patient clever fair: teachers, tutors, pupils, classmates, lecturers, librarians",
            "loud hot stuffy cold crowded gloomy: classrooms, corridors, halls, labs, canteens, changing rooms",
        ),
    ),
    "music": _subject(
        now="I am playing the {A}, I am listening to the {B}, I am tuning my {A}, I am dancing to the {B}",
        past="I saw the {B} playing, I was practising the {A}, I heard the {B} singing, I broke a string on my {A}",
        future="I am going to hear the {B}, I want to learn the {A}, I am joining the {B}, I am going to sell my {A}",
        a="cello, fiddle, banjo, harp, ukulele, guitar, mandolin, double bass, lute, viola, zither",
        b="brass band, choir, jazz trio, folk group, string quartet, punk band, orchestra, buskers, samba band, "
        "glee club",
        things=(
            "loud catchy jolly sweet lively groovy: songs, tunes, choruses, ballads, melodies, drum solos, riffs",
            "flat shrill rusty harsh shaky scratchy: trumpets, violins, flutes, high notes, speakers, bagpipes",
            "good young shy gifted smart famous: singers, drummers, fiddlers, pianists, bands, dancers, cellists",
        ),
    ),
    "garden": _subject(
        now="I am planting {A}, I am watering {A}, I am weeding around {A}, I am digging up {A}, I am mending the {B}",
        past="I was picking {A}, I found slugs eating {A}, I was pruning {A}, I tripped over the {B}",
        future="I am going to grow {A}, I want to plant {A}, I need to clean the {B}, I am going to build a {B}",
        a="the roses, the leeks, the tulips, the carrots, the peas, the beans, the daisies, the currants, "
        "the marrows, "
        "the lilies, the sweetcorn, the radishes",
        b="shed, pond, greenhouse, fence, trellis, compost bin, wheelbarrow, bird bath, patio, rockery, raised bed",
        things=(
            "pretty lovely tall bright sweet healthy: roses, tulips, daisies, lilies, sunflowers, hedges, poppies",
            "big juicy ripe plump sweet huge: tomatoes, pears, plums, gooseberries, cucumbers, melons",
            "nasty greedy slimy busy hungry sneaky: slugs, snails, moles, wasps, caterpillars, greenflies, pigeons",
        ),
    ),
    "neighbours": _subject(
        now="I am hearing the neighbours {A}, I am watching the neighbours {A}, I am lending my neighbour {B}, "
        "I am hiding from the neighbours",
        past="I saw my neighbour {A}, I caught the neighbours {A}, I was lending the neighbours {B}, "
        "I met the neighbours {A}",
        future="I am going to ask the neighbours for {B}, I want to stop the neighbours {A}, "
        "I am going to give my neighbour {B}",
        a="dancing, drilling, singing, arguing, juggling, painting the fence, washing the car, beating rugs, "
        "moving in, "
        "mowing the lawn, sunbathing, barbecuing, polishing the bins",
        b="a ladder, some sugar, a drill, some eggs, a spade, a hammer, a saucepan, some milk, a bicycle pump, "
        "a hosepipe",
        things=(
            "nice kind sweet friendly helpful polite: neighbours, folks next door, tenants, lodgers, families upstairs",
            "loud noisy rude nosy messy mad: neighbours, parties next door, lodgers, students upstairs, rows next door",
            "big ugly shiny weird silly tacky: garden gnomes, hedges next door, bins, satellite dishes, fairy lights",
        ),
    ),
    "shopping": _subject(
        now="I am buying {A}, I am queueing to pay for {A}, I am shopping for {B}, I am choosing {A}, "
        "I am returning {B}",
        past="I was bargaining for {A}, I saw {A} selling fast, I forgot to buy {B}, I spent my savings on {B}",
        future="I am going to order {A}, I want to buy {B}, I am going shopping for {A}, I need to swap {B}",
        a="a lamp, a kettle, a teapot, curtains, a rug, towels, a mirror, candles, a bookcase, a toaster, mugs, "
        "a doormat",
        b="a hat, new shoes, a belt, sandals, a winter coat, socks, a dress, jeans, a handbag, pyjamas, slippers, "
        "a jacket",
        things=(
            "long slow chaotic packed messy: queues, tills, sales, checkouts, car parks, market stalls, aisles",
            "cheap pricey nice trendy plain fancy: shoes, coats, lamps, handbags, cushions, dresses, curtains, mugs",
            "rude nice pushy helpful bored chatty: shop assistants, shoppers, cashiers, sellers, stallholders",
        ),
    ),
    "running": _subject(
        now="I am training for {A}, I am jogging along {B}, I am running along {B}, I am stretching before {A}",
        past="I went jogging along {B}, I was limping along {B}, I finished {A}, I saw a cow running in {A}",
        future="I am going running along {B}, I want to win {A}, I am going to enter {A}, I am hoping to finish {A}",
        a="the marathon, the fun run, the relay, the hill race, the charity run, the half marathon, the mud race, "
        "the night run, the cross-country race",
        b="the river, the canal, the beach, the old railway, the seafront, the ridge, the towpath, the lake, "
        "the dyke, "
        "the bypass",
        things=(
            "sore tired stiff heavy weak wobbly: legs, knees, feet, ankles, shoulders, calves, hamstrings",
            "steep long hard rocky tough muddy: hills, tracks, climbs, trails, laps, bends, slopes",
            "fast fit sweaty proud keen cheerful: runners, joggers, sprinters, pacers, race marshals",
        ),
    ),
    "books": _subject(
        now="I am reading {A}, I am returning {A} to the library, I am looking for {A}, I am crying over {A}",
        past="I was reading {A} to {B}, I finished reading {A}, I lent {A} to {B}, I found {B} reading {A}",
        future="I am going to finish {A}, I want to read {A}, I am going to write {A}, I am giving {A} to {B}",
        a="a crime novel, a ghost story, a love story, a spy thriller, a fat atlas, a fairy tale, a poetry book, "
        "a comic, "
        "a war diary, a space saga, a joke book, a sea story",
        b="my class, the book club, my grandad, my niece, my flatmate, the twins, my aunt, the librarian, my penfriend",
        things=(
            "good gripping funny sad clever moving: books, novels, stories, endings, poems, chapters, plots",
            "long dull slow silly boring wordy: chapters, novels, prologues, footnotes, sequels, diaries",
            "dark dusty cosy quiet cramped lovely: libraries, bookshops, reading rooms, shelves, archives",
        ),
    ),
    "home": _subject(
        now="I am painting the {A}, I am cleaning the {A}, I am fixing the {B}, I am swearing at the {B}",
        past="I was scrubbing the {A}, I broke the {B}, I was tidying the {A}, I flooded the {A} fixing the {B}",
        future="I am going to paint the {A}, I need to fix the {B}, I am going to replace the {B}, "
        "I want to tile the {A}",
        a="kitchen, bathroom, hallway, attic, cellar, porch, bedroom, landing, spare room, garage, larder, balcony",
        b="boiler, tap, washing machine, doorbell, oven, radiator, fridge, shower, toilet, ceiling lamp, cooker, "
        "dishwasher",
        things=(
            "old damp rusty leaky shaky noisy: pipes, taps, gutters, radiators, boilers, water tanks",
            "dirty sticky dusty bare filthy grimy: floors, windows, walls, tiles, cupboards, carpets, stairs",
            "neat shiny smooth fresh lovely tidy: shelves, curtains, rooms, doors, floorboards, worktops",
        ),
    ),
    "birds": _subject(
        now="I am watching {A}, I am counting {A}, I am feeding {A}, I am filming {A}, I am building {B} for {A}",
        past="I saw {A} nesting, I heard {A} singing, I was sketching {A}, I saw {A} stealing {B}, I spotted {A}",
        future="I am going to look for {A}, I want to photograph {A}, I am hoping to see {A}, I am going to put up {B}",
        a="the swans, the owls, the robins, the herons, the gulls, the crows, the geese, the wrens, the finches, "
        "the starlings, the magpies, the kestrels, the ducks",
        b="a nest box, a feeder, a perch, a sandwich bag, a bowl of seeds, a straw nest, a bird table",
        things=(
            "pretty shy rare small cute graceful: robins, wrens, finches, goslings, kingfishers, songbirds, larks",
            "loud greedy cheeky bold noisy rude: gulls, crows, magpies, geese, pigeons, jackdaws, parakeets",
            "high messy hidden cosy big tiny: nests, nest boxes, burrows, perches, roosts, bird tables",
        ),
    ),
    "holiday": _subject(
        now="I am packing {B} for {A}, I am camping with {B}, I am enjoying {A}, I am unpacking {B} after {A}",
        past="I was dreaming about {A}, I went camping with {B}, I loved {A}, I lost {B} packing for {A}",
        future="I am going to book {A}, I am looking forward to {A}, I want to extend {A}, I need to find {B} for {A}",
        a="the beach trip, the boat trip, the hiking trip, the coach tour, my week off, my long weekend, "
        "the ferry trip, "
        "the train trip, the cycling tour, the ski trip",
        b="the tent, my sun cream, my suitcase, the old map, my sunglasses, my swimming gear, the sleeping bags, "
        "the camping stove, my rucksack, the dinghy",
        things=(
            "hot sandy lovely quiet sunny wild: beaches, coves, islands, campsites, bays, dunes, harbours",
            "cheap grubby posh noisy nice dear: hotels, hostels, cabins, caravans, guest houses, cottages",
            "long delayed slow rough packed tiring: ferries, coach rides, trips, train rides, crossings, border queues",
        ),
    ),
}
"""Subject -> what is done and seen. The subject is also the hashtag."""

STATES = (
    "the {n} are {i} {a}",
    "these {n} are {i} {a}",
    "the {n} are getting {i} {a}",
    "you know the {n} are {i} {a}",
    "you can see the {n} are {i} {a}",
    "you will agree the {n} are {i} {a}",
    "even you would find the {n} {i} {a}",
    "most of the {n} are {i} {a}",
    "people are saying the {n} are {i} {a}",
    "{kin} is saying the {n} are {i} {a}",
    "{name} keeps saying the {n} are {i} {a}",
    "{name} says the {n} are {i} {a}",
    "you are looking at {j} {a} {n}",
    "we are talking about {j} {a} {n}",
    "{name} is talking about {j} {a} {n}",
    "you should see the {j} {a} {n}",
    "{j} {a} {n} are what you get",
    "there are {number} {j} {a} {n} to see",
    "there are {number} {j} {a} {n} waiting",
    "you are missing the {j} {a} {n}",
    "it seems {n} are {i} {a} to {kin} too",
    "you and {name} are right to call the {n} {j} {a}",
    "the {n} are turning out {i} {a}",
)
"""What is the case: {i} is so, very or really; {j} is never so, for a noun follows."""

KIN = phrases(
    "my mother, my brother, my aunt, my flatmate, my uncle, my boss, my sister, my father, my cousin, my gran"
)
COMPANIONS = (*(f"with {kin}" for kin in KIN), "with {name}", "with {name}", "with {name} and {second}")
TIMES = {
    "now": phrases("today, tonight, again, this morning, right now, this evening, for the {nth} time"),
    "past": phrases("today, yesterday, this morning, last night, at {clock}, on {day}, before breakfast"),
    "future": phrases("tonight, tomorrow, on {day}, before {day}, next week, this weekend, this evening"),
}
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
NTHS = words("second third fourth fifth sixth tenth")

PREFACES = phrases(
    "it is fair to say that, it so happens that, it is worth noting that, it turns out that, "
    "to put it plainly:, for the record:, a small piece of news:, a short note on today:, here is what is new:"
)
"""Words before a sentence that nobody repeats in a tweet."""
ASIDES = (
    "It is {day} today.",
    "The time is {clock}.",
    "It was {clock} by the church clock.",
    "{name} asked me about it.",
    "{name} from {place} heard it first.",
    "{name} in {place} heard about it on {day}.",
    "{Kin} knows all about it.",
    "That is the news of the day.",
    "That is all there is to report.",
    "Those are the facts as of {clock}.",
    "A man from {place} was there as well.",
    "It was much the same last {day}.",
    "It cost {number} pounds in all.",
    "The whole thing took {number} minutes.",
    "This has lasted for {number} days.",
    "There were {number} others there.",
)
"""Sentences beside the point, which nobody repeats in a tweet."""
