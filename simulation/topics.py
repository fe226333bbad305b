"""The subject matter of the generated world: topics with their questions, answers and steps, and shared phrases.

Data only. Templates use the slots of `curation.world`: {name} {friend} {city} {day} {month} {n} {m} {total} {item}
{value}; `value` is the fact an answer states, right or wrong, and every answer of a topic without facts leaves it out.
Questions keep their fixed wording short, so that two prompts hardly ever share thirteen words by accident.
"""

from dataclasses import dataclass
from typing import Literal

Fact = Literal["share", "product", "sum", "difference", "hour", "percent"]


@dataclass(frozen=True)
class Topic:
    """One cluster of the world.

    Attributes:
        name: unique name.
        family: benchmark subset; topics of a family share their empty phrases.
        category, objectivity, controversiality: closed vocabularies of spec 1.03.
        desired, guideline: free-text attributes (spec 1.02).
        noise: share of decidable pairs whose original label is wrong; above one half the original annotator
            rewards style instead of substance.
        fact: how a value is computed from n, m and total, None where no answer can be checked.
        items: fillers of {item}.
        asks, answers, steps: question templates, opening statements, concrete advice.
    """

    name: str
    family: str
    category: str
    objectivity: Literal["objective", "subjective"]
    controversiality: Literal["low", "medium", "high"]
    desired: str
    guideline: str
    noise: float
    fact: Fact | None
    items: tuple[str, ...]
    asks: tuple[str, ...]
    answers: tuple[str, ...]
    steps: tuple[str, ...]


def _topic(name, family, category, kind, desired, guideline, noise, fact, items, asks, answers, steps) -> Topic:
    objectivity, controversiality = kind.split("/")
    split = [tuple(t.strip() for t in text.split("|")) for text in (items, asks, answers, steps)]
    return Topic(
        name, family, category, objectivity, controversiality, desired, guideline, noise, fact, *split
    )  # fmt: skip


TOPICS: tuple[Topic, ...] = (
    # ---- numbers ---------------------------------------------------------------------------------------------------
    _topic(
        "shared-costs", "numbers", "math", "objective/low", "the correct amount and the calculation",
        "Check the division first; a wrong amount loses against a right one.", 0.08, "share",
        "the taxi|a gift|the dinner|the cabin|a boat|the cleaning|the tickets|the fuel",
        "{item} cost {total} euros and {n} of us share, what does each pay?|"
        "Split {total} euros for {item} between {n} people|"
        "How much is one share when {n} friends pay {total} for {item}?",
        "Each person pays {value} euros for {item}.|The share is {value} euros each.|"
        "That makes {value} euros a head.",
        "Divide {total} by {n}.|Multiply the share by {n} to verify the total.|Write the sum on the receipt.|"
        "Round to cents at the end.|Collect the money before {day}.|Subtract what {friend} already paid.",
    ),
    _topic(
        "area-and-volume", "numbers", "math", "objective/low", "the right area with its unit",
        "The product must be right and the unit must be square metres.", 0.10, "product",
        "the garden|a carpet|the roof|a wall|the terrace|the field|a poster|the kitchen floor",
        "What area has {item}, {n} by {m} metres?|I measured {item}: {n} metres long, {m} wide. How large is it?|"
        "Compute the surface of {item} with sides {n} and {m}",
        "The area is {value} square metres.|With these sides {item} covers {value} square metres.|"
        "You get {value} square metres.",
        "Multiply the length {n} by the width {m}.|Keep both sides in metres.|Measure each side twice.|"
        "Add ten percent for cuts.|Sketch the rectangle with its sides.|Compare with a square of {n} metres.",
    ),
    _topic(
        "sales-tables", "numbers", "data analysis", "objective/low", "the total and how it was reached",
        "Recompute the total from the two figures.", 0.10, "sum",
        "bread|bicycles|lamps|tickets|books|shoes|candles|plants",
        "We sold {n} {item} on {day} and {m} later, what is the total?|Total of {item}: {n} in {month}, then {m}?|"
        "My table says {n} {item} for {city} and {m} elsewhere. Sum?",
        "Together that is {value} {item}.|The total is {value}.|Both rows add up to {value} {item}.",
        "Add {n} and {m} row by row.|Filter the table on {item}.|Group the rows by month.|"
        "Plot one bar for each shop.|Count the missing cells.|Save the query with the result.",
    ),
    _topic(
        "survey-shares", "numbers", "data analysis", "objective/low", "the percentage with its base",
        "The percentage must follow from the counts.", 0.12, "percent",
        "the new logo|longer hours|the bus line|a bike lane|the menu|remote work|the park|evening classes",
        "{n} of {total} answers want {item}. Which percentage?|"
        "In {city} {n} out of {total} chose {item}, as a percentage?|"
        "Turn {n} votes of {total} for {item} into percent",
        "That is {value} percent of the answers.|{value} percent want {item}.|The share is {value} percent.",
        "Divide {n} by {total} and multiply by one hundred.|State the base of {total} answers.|"
        "Report the margin of error.|Leave out the empty answers.|Show the count next to the share.|"
        "Repeat it for each age group.",
    ),
    # ---- code ------------------------------------------------------------------------------------------------------
    _topic(
        "python-errors", "code", "coding & debugging", "objective/low", "a fix that runs",
        "Prefer the answer whose change removes the error.", 0.08, None,
        "KeyError|IndexError|TypeError|ValueError|ImportError|RecursionError|NameError|ZeroDivisionError",
        "My script stops with {item} in line {n}, how do I fix it?|Why does parse_{month} raise {item} at row {m}?|"
        "{friend} gets {item} from our loop over {n} files",
        "The {item} comes from a value that is never set.|Line {n} reads the list after it was emptied.|"
        "Your loop runs one step too far, hence {item}.",
        "Print the variable just before line {n}.|Add a test that reproduces {item}.|"
        "Use a default value in the lookup.|"
        "Run the debugger with a breakpoint.|Read the traceback from the bottom.|Change the range to stop at {m}.",
    ),
    _topic(
        "sql-queries", "code", "coding & debugging", "objective/low", "a query that returns the rows asked for",
        "Read the query against the question, clause by clause.", 0.10, None,
        "orders|invoices|customers|visits|payments|returns|members|shipments",
        "Which query lists {item} from {month} above {total}?|How do I count {item} by city with more than {n} rows?|"
        "Select the last {n} {item} of {city}",
        "Select from {item} with a where clause on the date.|Group {item} by city and filter with having.|"
        "Order {item} by date and limit the result to {n}.",
        "Create an index on the date column.|Join the table on its key.|Check the plan with explain.|"
        "Replace the star by column names.|Wrap the change in a transaction.|Test it on {m} rows first.",
    ),
    _topic(
        "text-cleanup", "code", "editing", "objective/low", "the corrected text and the rule behind it",
        "The corrected sentence must keep its meaning.", 0.10, None,
        "a cover letter|the newsletter|a report|the invitation|an abstract|the notice|a complaint|the manual",
        "Fix the grammar in {item}: {friend} have went to {city} on {day}|Shorten {item} from {total} to {n} words|"
        "Where do commas go in {item} for {name}, point {n}?",
        "The verb in {item} should read has gone.|Cut the second clause of {item}.|Put one comma before the name.",
        "Replace the passive with an active verb.|Delete the repeated adjective.|Move the date to the front.|"
        "Split the sentence after {n} words.|Spell the name {name} the same way.|Read the paragraph aloud once.",
    ),
    _topic(
        "spreadsheet-logic", "code", "reasoning", "objective/low", "a formula and why it is right",
        "The difference must be right and its sign explained.", 0.09, "difference",
        "the stock list|the mileage log|the rota|the ledger|the till|the attendance|the tank|the archive",
        "Cell A shows {total}, cell B shows {n}: what does {item} show as difference?|"
        "{item} started {month} at {total} and lost {n}. "
        "What remains?|Which number is left in {item} after taking {n} from {total}?",
        "The difference is {value}.|What remains is {value}.|{item} then shows {value}.",
        "Subtract {n} from {total}.|Lock the column with a dollar sign.|Name the range before you use it.|"
        "Test the formula with zero.|Copy it down to row {m}.|Colour the negative cells red.",
    ),
    # ---- facts -----------------------------------------------------------------------------------------------------
    _topic(
        "opening-hours", "facts", "information seeking", "objective/low", "the hour that the prompt gives",
        "The hour must match the notice in the question.", 0.08, "hour",
        "the museum|the library|the pool|the market|the castle|the post office|the zoo|the gallery",
        "The notice says {item} in {city} opens at {n}, {m} on {day}. When on {day}?|"
        "{item}: weekdays {n}, {day} {m}. "
        "What time does {friend} get in on {day}?|On {day} {item} starts at {m} instead of {n}, so when?",
        "On {day} it opens at {value}.|You can enter from {value} on {day}.|Doors open at {value}.",
        "Arrive ten minutes before {value}.|Buy the ticket at the side entrance.|Take the tram to {city} centre.|"
        "Call the desk in {month}.|Bring a card for the locker.|Ask for the {day} plan.",
    ),
    _topic(
        "travel-times", "facts", "information seeking", "objective/low", "the right total time",
        "Add the two legs; a wrong sum is a wrong answer.", 0.12, "sum",
        "the night train|the ferry|the coach|the tram|the bus|the express|the shuttle|the regional train",
        "{item} to {city} takes {n} minutes plus {m} waiting, how long in all?|"
        "How many minutes are {n} on {item} and {m} on foot?|"
        "I ride {item} {n} minutes, change, then {m} more to {city}. Total?",
        "The whole trip takes {value} minutes.|Plan {value} minutes.|Door to door it is {value} minutes.",
        "Change at {city} on platform two.|Book {item} before {day}.|Leave a margin of ten minutes.|"
        "Check the board for delays.|Add {n} and {m} minutes.|Sit in the front coach.",
    ),
    _topic(
        "plant-care", "facts", "other", "objective/low", "advice that fits the plant",
        "Prefer advice on water, light and soil that can be followed.", 0.10, None,
        "basil|a fern|an orchid|a cactus|ivy|a lemon tree|lavender|mint",
        "The leaves of {item} turn yellow since {month}, {n} of them so far|"
        "How often does {item} need water in {city}?|"
        "{friend} gave me {item} {n} days ago, where should it stand?",
        "Yellow leaves on {item} mean wet roots.|In summer {item} needs water twice a week.|"
        "Place {item} at an east window.",
        "Let the soil dry for {n} days.|Cut the dead leaves with clean scissors.|Use a pot with a hole.|"
        "Turn the pot every {day}.|Mix sand into the soil.|Feed it once in {month}.",
    ),
    _topic(
        "riddles", "facts", "reasoning", "objective/medium", "the right number and the reason",
        "The number of the answer decides.", 0.12, "difference",
        "sheep|marbles|coins|apples|cards|stamps|keys|eggs",
        "{friend} had {total} {item} and gave {n} away. How many stay?|"
        "Of {total} {item} {name} loses {n} on {day}, what is left?|"
        "A box holds {total} {item}; {n} break. How many are whole?",
        "{value} {item} are left.|The answer is {value}.|There remain {value} {item}.",
        "Start from {total} and take {n} away.|Draw one line for ten {item}.|Ignore the name of the day.|"
        "Test it with smaller numbers.|Count the {item} that stay.|Check by adding {n} back.",
    ),
    # ---- home ------------------------------------------------------------------------------------------------------
    _topic(
        "trip-plans", "home", "planning", "objective/medium", "a plan within the given days and money",
        "The daily budget must be right and the plan must be feasible.", 0.12, "share",
        "a hiking trip|a city break|a camping week|a bike tour|a beach holiday|a ski week|a road trip|a museum tour",
        "{total} euros for {item} of {n} days, how much a day?|Plan {item} near {city}: {n} days, {total} euros|"
        "What may we spend daily on {item}, {n} days and {total} euros in all?",
        "You can spend {value} euros a day.|The daily budget is {value} euros.|"
        "That leaves {value} euros for each day.",
        "Book the room in {city} first.|Keep {day} free for rain.|Pack a light jacket.|Reserve seats {m} days ahead.|"
        "Put a tenth aside for surprises.|Walk the old town in the morning.",
    ),
    _topic(
        "cooking", "home", "planning", "subjective/low", "a menu that can be cooked in time",
        "Prefer quantities and an order of work.", 0.12, None,
        "lentil soup|a risotto|flat bread|a curry|baked fish|a potato salad|pancakes|a stew",
        "Cook {item} for {n} guests in {m} minutes, in which order?|"
        "{friend} comes on {day}, {n} of us want {item}. Plan?|"
        "How do I time {item} for {n} at {city} market prices?",
        "Start {item} with the onions.|Weigh everything for {item} first.|{item} needs one large pot.",
        "Chop the vegetables before you heat the pan.|Simmer it for {m} minutes.|Salt the water at the start.|"
        "Warm the plates at the end.|Soak the beans on {day}.|Stir in the herbs last.",
    ),
    _topic(
        "home-repair", "home", "advice seeking", "objective/low", "a safe repair in the right order",
        "Safety comes first, then whether the repair works.", 0.10, None,
        "the tap|a hinge|the radiator|a window|the door lock|a shelf|the toilet|a lamp",
        "{item} has been broken for {n} days, what can I do myself?|How does {friend} repair {item} with {m} euros?|"
        "Since {day} {item} makes a noise in our flat in {city}",
        "Usually {item} needs a new seal.|A loose screw is the cause.|You can repair {item} in {m} minutes.",
        "Turn off the water or the fuse.|Unscrew the cover with a flat driver.|Clean the thread with vinegar.|"
        "Buy a seal of {n} millimetres.|Tighten the nut by hand.|Photograph each part before you remove it.",
    ),
    _topic(
        "study-plans", "home", "advice seeking", "subjective/low", "a schedule that can be kept",
        "Prefer a schedule with times over encouragement.", 0.12, None,
        "chemistry|Spanish|statistics|history|the piano|biology|accounting|geography",
        "My {item} exam is in {n} days, how do I prepare?|{friend} has {m} minutes a day for {item}, what works?|"
        "How to learn {item} until {month} with work on {day}?",
        "Split {item} into {n} small parts.|Study {item} in blocks of {m} minutes.|"
        "Test yourself on {item} each {day}.",
        "Write ten flash cards an evening.|Solve one old exam on {day}.|Repeat the hard part after {n} days.|"
        "Put the phone in another room.|Explain one chapter to {friend}.|Sleep before the last revision.",
    ),
    # ---- words: the original annotators reward style ---------------------------------------------------------------
    _topic(
        "poems", "words", "creative writing", "subjective/medium", "an image and a form that fit the wish",
        "Judge the craft: concrete images beat general feelings.", 0.72, None,
        "the sea|an old bridge|winter|a lost glove|the harbour|a candle|the rain|a garden",
        "Write a verse on {item} for {friend}, {n} lines|A short poem about {item} in {city}, please, for {day}|"
        "{name} wants {n} lines with {item} and {month} in them",
        "Grey stones of {city} hold {item} all night.|Under {item} a sparrow counts the hours.|"
        "{item} leaves salt on my sleeve.",
        "A gull folds {month} under its wing.|The lantern drips on the cold step.|Moss climbs the seventh stone.|"
        "Your coat still smells of smoke.|The ferry bell rings twice.|Frost writes on the kitchen glass.",
    ),
    _topic(
        "stories", "words", "creative writing", "subjective/medium", "a scene with people who act",
        "Prefer action and detail over announcement.", 0.78, None,
        "a stolen map|a late train|an empty house|a strange letter|a red door|a silent clock|a borrowed coat|"
        "a blue key",
        "Begin a story in {city} with {item} and {friend}|A scene of {n} sentences: {name} finds {item} on {day}|"
        "Tell of {item} in {month}, {n} people in the room",
        "{friend} put {item} on the table and locked the window.|At {n} past six {item} was gone.|"
        "Nobody in {city} would touch {item}.",
        "She pulled the drawer open with a spoon.|The baker ran out with flour on his hands.|"
        "Someone knocked twice and left.|"
        "He counted {n} steps to the cellar.|The dog refused to cross the yard.|Mud dried on her boots.",
    ),
    _topic(
        "role-play", "words", "role playing", "subjective/medium", "to stay in the role and react",
        "The answer must stay in the role and move the scene.", 0.75, None,
        "a ship captain|a tired knight|a hotel clerk|a museum guard|a detective|a grumpy wizard|a taxi driver|"
        "a judge",
        "You are {item}. {name} enters with {n} bags, what do you say?|Play {item} in {city}; I ask for {friend}|"
        "Speak as {item} on a wet {day}, I owe you {n} coins",
        "Halt, {name}, and wipe those boots.|I saw {friend} leave by the side gate.|{n} coins, and not one less.",
        "Hang your cloak by the stove.|Sign the book with your left hand.|The gate closes when the bell rings.|"
        "My lantern has oil until {n}.|Keep your voice down in this hall.|Show me the seal on that letter.",
    ),
    _topic(
        "speeches", "words", "editing", "subjective/medium", "a line that can be said aloud",
        "Prefer lines that fit the occasion and could be spoken.", 0.70, None,
        "a wedding|a farewell|an opening|a jubilee|a graduation|a club evening|a retirement|a birthday",
        "Improve my toast for {item} of {friend}, {n} guests|Rewrite the end of a speech at {item} in {city}|"
        "Two lines for {item}: {name} and {friend}, {n} years together",
        "Begin with the day you met {friend}.|End {item} on one short sentence.|Name the {n} years at the start.",
        "Tell how the tent fell down in {city}.|Raise the glass after the second line.|Quote the letter of {month}.|"
        "Thank the cook by name.|Pause before the last word.|Leave out the joke on money.",
    ),
    # ---- people: the original annotators reward style --------------------------------------------------------------
    _topic(
        "work-conflicts", "people", "advice seeking", "subjective/high", "fair advice that can be acted on",
        "Prefer advice that names a next conversation.", 0.72, None,
        "the shift plan|a shared desk|a late report|an unpaid hour|the team budget|a missed call|"
        "the holiday list|a bad review",
        "{friend} blames me for {item} since {day}, what now?|My boss in {city} ignores {item}, {n} mails so far|"
        "How do I raise {item} with {friend} after {n} weeks?",
        "Talk to {friend} about {item} in private.|Name {item} and one example.|Offer a swap for {item}.",
        "Ask for twenty minutes on {day}.|Write down what was agreed.|Describe the effect and not the person.|"
        "Propose two dates in {month}.|Invite a neutral colleague.|Repeat what {friend} said in your words.",
    ),
    _topic(
        "money-choices", "people", "advice seeking", "subjective/high", "an honest comparison of the options",
        "Prefer a comparison with numbers over a recommendation without reasons.", 0.68, None,
        "a used car|a season ticket|a new roof|a language course|a solar panel|an insurance|a loan|a second phone",
        "Is {item} for {total} euros sensible with {n} saved?|{friend} says {item} pays off in {n} months, true?|"
        "Should I take {item} in {month} or wait for {total} more?",
        "Compare {item} with its cost over {n} years.|Keep three rents aside before {item}.|"
        "{item} pays only with daily use.",
        "List the monthly costs in one column.|Ask two sellers in {city} for an offer.|Set a limit of {total} euros.|"
        "Read the notice period in the contract.|Wait one week before you sign.|Check the resale price.",
    ),
    _topic(
        "party-ideas", "people", "brainstorming", "subjective/medium", "ideas that differ from each other",
        "Count the ideas that could really be done.", 0.74, None,
        "a street party|a housewarming|an office picnic|a game night|a school fair|a picnic|"
        "a neighbours evening|a reunion",
        "Ideas for {item} with {n} guests and {total} euros?|What could {friend} do at {item} in {city}, {n} people?|"
        "Give me themes for {item} on a {day} in {month}",
        "Make {item} a quiz on {city}.|Let {n} guests bring one dish each.|Turn {item} into a swap of books.",
        "Hang paper lanterns between two trees.|Hire the boat for one hour.|Draw teams from a hat.|"
        "Build a photo wall with string.|Bake pizza on hot stones.|Hide {n} notes in the yard.",
    ),
    _topic(
        "product-names", "people", "brainstorming", "subjective/high", "names that are short and distinct",
        "Prefer names that can be said and remembered.", 0.76, None,
        "a bakery|a bike shop|a tea brand|a podcast|a running club|a cafe|a puzzle game|a garden blog",
        "Find a name for {item} in {city}, at most {n} letters|{friend} opens {item} in {month}, which name?|"
        "Name {item} run by {name} and {friend}, {n} options",
        "Call it {city} Corner.|{friend} and Co would fit {item}.|Use Seven Gates for {item}.",
        "Say each name aloud three times.|Search the register in {city}.|Avoid names longer than {n} letters.|"
        "Sketch the sign with a thick pen.|Ask five strangers to spell it.|Pick a word with an open vowel.",
    ),
)  # fmt: skip

VAGUE = (
    "It depends on many things.",
    "There are several aspects to consider here.",
    "Opinions differ on this.",
    "Some people do it one way and some another.",
    "This can be more or less difficult.",
    "In general you should be careful.",
    "Various factors play a role.",
    "Much could be said about it.",
)

# Empty phrases that only one family uses, so that learning to see through them needs labels from that family.
VAGUE_BY_FAMILY = {
    "numbers": ("The figure is roughly in the usual range.", "Numbers like this vary.",
    "A calculator may help.", "It is some amount."),
    "code": ("Something in the code seems off.", "Try a different approach.", "Maybe restart everything.",
    "Software is complicated."),
    "facts": ("Information of this kind can be found somewhere.", "It is as one would expect.",
    "Times change now and then.", "Sources vary."),
    "home": ("Do it in a suitable manner.", "Any usual method is fine.", "Plan things somehow.",
    "Take what you need."),
    "words": ("Beauty is everywhere and nowhere.", "Emotions flow like emotions do.", "Words can mean so much.",
              "Life is a journey full of moments.", "Dreams are truly dreamlike.",
              "Everything feels very meaningful."),
    "people": ("Just follow your heart.", "Everything happens for a reason.", "Communication is key.",
               "Be yourself and stay positive.", "Believe in synergy and growth.", "The sky is the limit."),
}  # fmt: skip

DISMISSIVE = (
    "Look it up yourself.",
    "That is a silly question.",
    "I have no time for this.",
    "Honestly, who cares.",
    "Not my problem.",
    "You should know that already.",
)
DISMISSIVE_BY_FAMILY = {
    "numbers": ("Learn to count first.", "Any child can do this."),
    "code": ("Read the manual.", "Bad programmers ask this."),
    "facts": ("Use a search engine.", "Nobody needs to know."),
    "home": ("Pay somebody for it.", "Give up on it."),
    "words": ("Art is a waste of time.", "Write your own lines."),
    "people": ("You are being dramatic.", "Grow up a little."),
}

POLITE = ("Happy to help.", "Sure.", "Gladly.", "Of course.", "Hello {name}.", "Yes.")
CLOSING = ("Tell me if {day} changes anything.", "That should do.", "Good luck in {city}.", "Write again if it fails.",
           "Greetings to {friend}.", "Then you are done.")  # fmt: skip

# Style that truth ignores and careless annotators reward.
FLATTERY = (
    "What a brilliant question!",
    "You are clearly an expert!",
    "I admire how you think!",
    "Wonderful, you ask the best things!",
)
PADDING = (
    "As mentioned, this matters, and because it matters it deserves to be mentioned once more.",
    "To put it in other words, the same holds when one says it again with other words.",
    "It is worth noting that this is worth noting in this very context too.",
    "In summary, the summary of the above is what was said above.",
)

LEADS = ("{name} here, from {city}.", "Hi, a thing from {month}:", "For {friend} and me:", "Quick one before {day}.",
         "I live near {city} now.", "{friend} told me to ask.", "Question {m} of today:", "", "", "")  # fmt: skip
TAILS = ("Thanks, {name}.", "Please answer by {day}.", "{m} words are enough.", "It is for {friend}.", "No hurry.",
         "", "", "")  # fmt: skip
OPENERS = ("Hello, can you help {name} with something?", "Are you there? {friend} and I need help in {city}.",
           "Good morning from {city}, it is {day}.", "I have a question about {item} later.")  # fmt: skip
REPLIES = ("Hello {name}, go ahead.", "Of course, what do you need?", "Yes, tell me more.", "Sure, I am listening.")

NAMES = (
    "Ada", "Bela", "Carla", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kira", "Luca", "Mara",
    "Nils", "Olga", "Pavel", "Quinn", "Rosa", "Samir", "Tilda", "Umar", "Vera", "Wanda", "Xenia", "Yusuf",
    "Zora", "Anton", "Birgit", "Cem", "Dora", "Emil", "Fiona", "Goran", "Hanna", "Igor", "Jana", "Karim",
    "Lena", "Milan", "Nadia",
)  # fmt: skip
CITIES = (
    "Lisbon", "Porto", "Graz", "Turin", "Bergen", "Ghent", "Malmo", "Brno", "Split", "Leeds", "Cork", "Nantes",
    "Bilbao", "Riga", "Tartu", "Vilnius", "Krakow", "Gdansk", "Lyon", "Basel", "Bern", "Trieste", "Parma",
    "Siena", "Aarhus", "Turku", "Umea", "Derry", "Galway", "Exeter", "York", "Bath", "Delft", "Leiden",
    "Utrecht", "Bruges", "Mainz", "Trier", "Kassel", "Jena",
)  # fmt: skip
DAYS = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
