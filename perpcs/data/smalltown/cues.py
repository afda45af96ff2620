"""Clauses that hint at movie tags.

``PLOT`` clauses follow a hero ("Orrin Valdake ... meets visitors from a distant galaxy"), ``FRAME`` clauses are
sentences about the film itself. A clause may hint at two tags. Slots: {person}, {place}, {family}, {first}, {n} and the
hero's {he}, {his}, {him}.
"""

from perpcs.data.smalltown.words import phrases

PLOT: tuple[tuple[tuple[str, ...], str], ...] = tuple(
    (tuple(tags.split(" + ")), clause)
    for tags, clauses in {
        "sci-fi": (
            "boards a starship bound for {place}",
            "repairs a stranded android named {first}",
            "slips {n} years into the future",
            "meets visitors from a distant galaxy",
            "wakes up on a space station called {place}",
            "builds a machine that bends time",
            "finds an alien signal below {place}",
            "teaches a robot to dream",
            "is cloned in a laboratory on Mars",
            "crosses {n} light years to reach planet {place}",
        ),
        "fantasy": (
            "befriends the last dragon of {place}",
            "inherits a wand from the wizard {first}",
            "is cursed by the witch {person}",
            "enters an enchanted forest near {place}",
            "guards a sword that grants wishes",
            "turns into a raven at every full moon",
            "seeks the elf queen of {place}",
            "learns spells at the castle of {place}",
            "frees a giant from an ancient magic",
        ),
        "dystopia": (
            "lives under the all-seeing regime of {place}",
            "is given a number instead of a name",
            "flees a walled city where books are burnt",
            "joins rebels against the Ministry of {place}",
            "must report every dream to the state",
            "grows up in the ration camps of {place}",
            "breaks the curfew of a ruined world",
            "is watched by cameras in every room of {place}",
            "smuggles banned songs past the thought police",
        ),
        "sci-fi + dystopia": (
            "serves the computer that rules {place}",
            "hacks the chips that make all citizens obey",
        ),
        "comedy": (
            "loses {his} trousers at the wedding of {person}",
            "is mistaken for the mayor of {place} with hilarious results",
            "bungles one silly job after another",
            "swaps places with a clumsy cousin from {place}",
            "hides a noisy goat in {his} hotel room",
            "joins the worst football team in {place}",
            "tells {person} one funny lie too many",
            "opens a hotel where everything goes comically wrong",
            "has to teach a parrot to keep its mouth shut",
        ),
        "dark comedy": (
            "keeps losing the corpse of uncle {first}",
            "jokes through {his} own funeral in {place}",
            "plans an absurdly botched murder",
            "sells cheerful coffins in {place}",
            "laughs off a poisoning at the {family} dinner",
            "runs a grimly funny hospice in {place}",
            "bets with {person} on who will die first",
        ),
        "romance": (
            "falls in love with {person}",
            "writes love letters to {person}",
            "meets an old flame in {place}",
            "shares a first kiss with {person} by the sea",
            "must choose between two suitors in {place}",
            "marries {person} against all advice",
            "loses {his} heart to a stranger from {place}",
            "waits {n} years for the love of {his} life",
            "elopes with {person} to {place}",
        ),
        "comedy + romance": (
            "keeps tripping over {his} words on a date with {person}",
            "courts {person} with laughably bad poems",
        ),
        "action": (
            "races against time to defuse a bomb in {place}",
            "leaps from a burning helicopter",
            "chases {person} over the rooftops of {place}",
            "storms a fortress with commander {family}",
            "escapes in a speeding truck from {place}",
            "trains with {person} for one last mission",
            "outruns {n} armed agents",
            "jumps a motorbike across the canyon of {place}",
            "has one hour to free {n} hostages",
        ),
        "violence": (
            "takes bloody revenge on the {family} gang",
            "is beaten and left for dead in {place}",
            "fights with knives in the cellars of {place}",
            "leaves a trail of bodies behind {him}",
            "is tortured by the butcher {family}",
            "joins a brutal prison brawl",
            "guns down {n} men without mercy",
            "is hunted by a masked killer with an axe",
            "settles the feud of {place} with blood",
        ),
        "action + violence": (
            "shoots {his} way out of a gory ambush in {place}",
            "hunts the killers of {person} in a savage car chase",
        ),
        "twist ending": (
            "learns at the very end that {person} never existed",
            "turns out in the last minute to be someone else",
            "trusts {person} until the final shocking turn",
            "follows clues to {place} that prove to be a trick in the last scene",
            "solves a case that the very last shot overturns",
            "finds in the closing scene that {he} was dead all along",
        ),
        "psychology": (
            "struggles with memories that may be false",
            "hears the voice of {person} in {his} head",
            "confronts {his} deepest fears with doctor {family}",
            "slowly loses {his} grip on reality in {place}",
            "is torn apart by guilt over {person}",
            "studies the mind of a patient named {first}",
            "becomes obsessed with {his} own reflection",
            "digs up a buried childhood trauma",
            "cannot tell dreams from waking",
        ),
        "thought-provoking": (
            "asks what makes a life worth living",
            "wonders whether anyone is ever truly free",
            "debates the nature of truth with {person}",
            "must decide whether one life outweighs {n}",
            "ponders the meaning of time in silent {place}",
            "questions everything {he} believed about good and evil",
        ),
        "social commentary": (
            "exposes how the poor of {place} are cheated",
            "leads a strike at the {family} mill",
            "sees the gap between rich and poor in {place}",
            "is refused work because of {his} skin",
            "fights the landlords who run {place}",
            "stands up to a greedy firm called {family}",
        ),
        "psychology + thought-provoking": (
            "doubts whether {his} own mind is real",
            "asks in a mental ward what makes us who we are",
            "wonders if someone without memories can be guilty",
        ),
        "dystopia + social commentary": (
            "serves tea to the rich of {place} while the slums are fenced in",
            "is born into the lowest caste of a totalitarian {place}",
        ),
    }.items()
    for clause in clauses
)

FRAME: tuple[tuple[tuple[str, ...], str], ...] = tuple(
    (tuple(tags.split(" + ")), clause)
    for tags, clauses in {
        "based on a book": (
            "The script follows the best-selling novel by {person}.",
            "It is adapted from a book by {person}.",
            "Readers of the {family} novels will know the plot.",
            "The film brings {person}'s paperback to the screen.",
            "It is taken chapter by chapter from a novel about {place}.",
            "{person} wrote the book on which it is based.",
            "First published as a novel, it sold {n} editions.",
        ),
        "true story": (
            "It all really happened in {place}.",
            "The film retells real events in {place}.",
            "It is drawn from the diaries of the real {person}.",
            "The real {person} advised the makers.",
            "Every scene comes from court records in {place}.",
            "It recalls an actual case that shook {place}.",
            "The facts are those of the {place} disaster.",
        ),
        "classic": (
            "Shot in black and white, it is still loved after {n} years.",
            "This old masterpiece by {person} never ages.",
            "It is a timeless favourite of generations.",
            "Film schools still teach this golden-age gem.",
            "{person}'s famous original was restored at last.",
            "No list of all-time greats is without it.",
            "Grandparents saw it first, in the old cinema of {place}.",
        ),
        "classic + based on a book": ("A vintage film of the great novel by {person}.",),
        "twist ending": (
            "Nobody will guess the final twist.",
            "The last five minutes change everything.",
            "Do not tell anyone how it ends in {place}.",
        ),
        "thought-provoking": (
            "It leaves hard questions that linger for days.",
            "Viewers in {place} argued about its meaning for hours.",
        ),
        "social commentary": (
            "It holds up a mirror to an unjust society.",
            "The film takes aim at class and privilege in {place}.",
        ),
        "psychology": ("It is a close study of a troubled mind.",),
        "comedy": ("The gags come thick and fast.", "Audiences in {place} laughed from start to finish."),
        "dark comedy": ("Its humour is as black as a hearse.", "You laugh, and then feel bad about it."),
        "violence": ("It is bloody and not for the faint of heart.",),
        "action": ("Explosions and stunts hardly let you breathe.",),
        "psychology + twist ending": ("In the end it turns out to have been all in the mind of {person}.",),
        "true story + social commentary": ("It documents a real strike by the workers of {place}.",),
    }.items()
    for clause in clauses
)

NEUTRAL = (
    "It was filmed in {place}.",
    "{person} plays the lead.",
    "{person} directed it in {n} days.",
    "The music is by {person}.",
    "It runs for {n} minutes.",
    "It opened in {place} in the autumn.",
    "{person} appears as a neighbour.",
    "The costumes were made in {place}.",
    "It is the second film by {person}.",
    "The {family} brothers produced it.",
    "Part of it takes place at a railway station.",
    "Look out for the dog, called {first}.",
)
HEROES = (
    "{hero}, {job} from {place},",
    "{hero}, {job},",
    "{hero}",
    "{first}, {job},",
    "Little does {first} know what is to come when {he}",
    "On {his} birthday {first}",
    "Everything changes when {first}",
    "In {place}, {hero}",
    "{job_cap} named {hero}",
    "{job_cap} called {hero}",
    "Young {hero}",
    "One winter in {place}, {hero}",
    "{hero}, new in {place},",
    "After {n} years away, {hero}",
)
JOBS = phrases(
    "baker, nurse, retired teacher, taxi driver, orphan, lawyer, cook, piano tuner, sailor, student, locksmith, "
    "farmer, journalist, widowed tailor, mechanic, gardener, translator, fisherman, librarian, young clerk, "
    "photographer, shepherd, night porter, singer"
)
