#!/usr/bin/env python3
"""A grammar of small English stories and talks, whose information content is known exactly.

What comes in is a seed, what goes out is text. Every random decision passes through Pen.pick, which adds -ln p of what
was decided; everything else in a story (pronouns, plurals, sums, who holds what, what a duck says) follows from what was
decided before. So the text carries exactly the nats that were spent on it, and no model, however good, can have a
lower expected loss: that number is the floor.

The road back exists too: `parse` runs the same grammar against a given text and finds every sequence of decisions that
writes it. There is exactly one (tests of thousands of stories say so, see --check), hence the floor of any text of this
language can be computed from the text alone, position by position. The grammar is our own; nothing was taken from a
corpus.

    python3 grammar.py --seed 1 --stories 3              print three stories
    python3 grammar.py --seed 1 --stories 3 --entropy    print nats and characters of each, and the total
    python3 grammar.py --seed 1 --dialogues 3            print three conversations
    python3 grammar.py --seed 1 --stories 500 --check    parse each story back; fail unless the parse is unique
    python3 grammar.py --floor FILE                      nats of a file of stories separated by blank lines
"""
import argparse
import math
import random
import sys


class Fork(Exception):
    """The script ended at a decision between `weights`."""

    def __init__(self, weights):
        self.weights = weights


class Mismatch(Exception):
    """What the grammar writes is not what the text says."""


class Pen:
    """Decides at random and keeps account: `nats` spent so far, `spent` as (position in text, nats) pairs."""

    def __init__(self, rng):
        self.rng = rng
        self.parts = []
        self.at = 0
        self.nats = 0.0
        self.spent = []

    def decide(self, weights):
        x = self.rng.random() * sum(weights)
        for i, w in enumerate(weights):
            x -= w
            if x < 0:
                return i
        return len(weights) - 1

    def pick(self, options, weights=None):
        if len(options) == 1:
            return options[0]
        w = weights or [1] * len(options)
        i = self.decide(w)
        cost = -math.log(w[i] / sum(w))
        self.nats += cost
        self.spent.append((self.at, cost))
        return options[i]

    def say(self, text):
        self.parts.append(text)
        self.at += len(text)

    def text(self):
        return "".join(self.parts)


class Reader(Pen):
    """A pen led by a script of decisions and held to a text that already exists."""

    def __init__(self, target, script):
        super().__init__(None)
        self.target = target
        self.script = script
        self.step = 0

    def decide(self, weights):
        if self.step == len(self.script):
            raise Fork(weights)
        self.step += 1
        return self.script[self.step - 1]

    def say(self, text):
        if not self.target.startswith(text, self.at):
            raise Mismatch
        super().say(text)


def parse(text, write=None):
    """All readings of one story: a list of (nats, spent). Unambiguous text has one, foreign text none."""
    write = write or story
    found, stack = [], [[]]
    while stack:
        script = stack.pop()
        reader = Reader(text, script)
        try:
            write(reader)
        except Mismatch:
            continue
        except Fork as fork:
            stack.extend(script + [i] for i in reversed(range(len(fork.weights))))
            continue
        if reader.at == len(text):
            found.append((reader.nats, reader.spent))
    return found


# ---- the world: what there is, and what follows from what ----------------------------------------------------------

GIRLS = "Mia Anna Lily Emma Rose Sara Nina Ella Kate Zoe Ruby Alice".split()
BOYS = "Tom Ben Sam Max Leo Jack Tim Noah Adam Finn Oscar Hugo".split()
NAMES = GIRLS + BOYS
NAME_WEIGHTS = [12 // (i + 2) + 1 for i in range(12)] * 2

NUMBERS = ("no one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
           "seventeen eighteen nineteen twenty").split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
COLORS = "red blue green yellow white black brown orange pink purple".split()
COLOR_WEIGHTS = [6, 6, 4, 4, 3, 3, 2, 1, 1, 1]
MIXES = [("red", "blue", "purple"), ("red", "yellow", "orange"), ("blue", "yellow", "green"), ("red", "white", "pink"),
         ("black", "white", "gray"), ("red", "green", "brown")]
OPPOSITES = [("big", "small"), ("old", "new"), ("heavy", "light"), ("hot", "cold"), ("long", "short"), ("wet", "dry"),
             ("clean", "dirty"), ("full", "empty"), ("hard", "soft"), ("dark", "bright"), ("fast", "slow"),
             ("happy", "sad"), ("open", "closed"), ("strong", "weak")]
GRADES = [("taller", "tallest"), ("older", "oldest"), ("faster", "fastest"), ("stronger", "strongest")]
THINGS = {"apple": "apples", "ball": "balls", "book": "books", "flower": "flowers", "stone": "stones",
          "shell": "shells", "coin": "coins", "button": "buttons", "egg": "eggs", "key": "keys", "leaf": "leaves",
          "feather": "feathers", "bell": "bells", "box": "boxes", "berry": "berries", "ring": "rings", "cup": "cups",
          "brush": "brushes"}
THING_LIST = list(THINGS)
THING_WEIGHTS = [9, 9, 6, 6, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1]
ANIMALS = {"dog": ("woof", "bones"), "cat": ("meow", "fish"), "cow": ("moo", "grass"), "duck": ("quack", "bread"),
           "sheep": ("baa", "hay"), "pig": ("oink", "corn"), "bird": ("tweet", "seeds"), "frog": ("croak", "flies"),
           "horse": ("neigh", "carrots"), "mouse": ("squeak", "cheese"), "lion": ("roar", "meat"),
           "owl": ("hoot", "mice")}
ANIMAL_LIST = list(ANIMALS)
ANIMAL_WEIGHTS = [8, 8, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1]
PLACES = "park river forest market school beach hill farm garden lake village library".split()
PLACE_WEIGHTS = [8, 6, 6, 4, 4, 3, 3, 3, 2, 2, 1, 1]
SPOTS = ["under the bed", "behind the door", "in the tree", "near the wall", "on the roof", "under the table",
         "behind the house", "in the barn"]
CARRIERS = "bag basket pocket bucket jar".split()
WEATHER = {"sunny": "hat", "rainy": "umbrella", "snowy": "coat", "windy": "kite", "cold": "scarf", "foggy": "lamp"}
KIN = {"mother": "f", "father": "m", "sister": "f", "brother": "m", "grandmother": "f", "grandfather": "m",
       "aunt": "f", "uncle": "m"}
MEALS = "soup bread rice cake pie fish".split()
JOBS = {"baker": ("made", "bread"), "farmer": ("sold", "corn"), "teacher": ("gave", "lessons"),
        "painter": ("made", "pictures"), "tailor": ("made", "coats"), "gardener": ("sold", "flowers")}
NATURES = "kind brave little clever quiet funny young curious".split()
HOMES = ["house", "tower", "hut", "cottage"]
SHE = {"sub": "she", "obj": "her", "own": "her", "kid": "girl", "self": "herself"}
HE = {"sub": "he", "obj": "him", "own": "his", "kid": "boy", "self": "himself"}


def pronouns(name):
    return SHE if name in GIRLS else HE


def a(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def cap(words):
    return words[0].upper() + words[1:]


def many(n, thing):
    return NUMBERS[n] + " " + (thing if n == 1 else THINGS[thing])


def other(pen, options, *taken):
    return pen.pick([o for o in options if o not in taken])


# ---- stories -------------------------------------------------------------------------------------------------------

class Tale:
    """One story being told: who it is about and what has become true so far."""

    def __init__(self, pen, hero):
        self.pen = pen
        self.hero = hero
        self.p = pronouns(hero)
        self.friend = None
        self.place = None
        self.day = None
        self.kept = None  # (color and thing, carrier)
        self.met = None   # animal

    def say(self, text):
        self.pen.say(text)

    def who(self):
        """The hero as the subject of the next sentence, by name or by pronoun."""
        return self.pen.pick([cap(self.p["sub"]), self.hero], [2, 1])

    def pal(self, *taken):
        """The friend's name; introduced the first time it is needed."""
        if self.friend:
            return self.friend
        self.friend = other(self.pen, NAMES, self.hero, *taken)
        return self.p["own"] + " friend " + self.friend


def open_once(t):
    nature = t.pen.pick(NATURES)
    t.say(f"Once upon a time there was {a(nature)} {t.p['kid']} named {t.hero}.")


def open_went(t):
    t.place = t.pen.pick(PLACES, PLACE_WEIGHTS)
    t.say(f"One day {t.hero} went to the {t.place}.")


def open_lived(t):
    t.say(f"{t.hero} lived in {a(t.pen.pick(['small', 'big', 'old', 'white', 'tall']))}")
    t.say(f" {t.pen.pick(HOMES, [4, 1, 1, 1])}")
    t.say(f" near the {t.pen.pick(PLACES, PLACE_WEIGHTS)}.")


def open_weather(t):
    weather = t.pen.pick(list(WEATHER), [4, 3, 1, 2, 2, 1])
    t.say(f"It was {a(weather)} day, so {t.hero} took {t.p['own']} {WEATHER[weather]}.")


def open_day(t):
    t.day = t.pen.pick(DAYS)
    t.say(f"On {t.day} {t.hero} {t.pen.pick(['woke up early', 'stayed at home', 'had nothing to do'])}.")


OPENINGS = [(open_once, 4), (open_went, 4), (open_lived, 2), (open_weather, 3), (open_day, 3)]


def scene_find(t):
    pen = t.pen
    t.say(f" {t.who()} found ")
    color = pen.pick(COLORS, COLOR_WEIGHTS)
    t.say(a(color))
    thing = pen.pick(THING_LIST, THING_WEIGHTS)
    t.say(f" {thing}")
    t.say(f" {pen.pick(SPOTS)}.")
    end = pen.pick(["keep", "give", "lose"], [4, 2, 1])
    if end == "keep":
        t.say(f" {cap(t.p['sub'])} put the {thing} in {t.p['own']}")
        carrier = pen.pick(CARRIERS, [4, 2, 2, 1, 1])
        t.kept = (f"{color} {thing}", carrier)
        t.say(f" {carrier}.")
    elif end == "give":
        t.say(f" {cap(t.p['sub'])} gave it to ")
        t.say(t.pal())
        t.say(f", and {t.friend} said, \"Thank you for the {color} {thing}!\"")
    else:
        t.say(f" But the {thing} was lost again before the evening.")


def scene_count(t):
    pen = t.pen
    t.say(f" {t.who()} had ")
    n = pen.pick(range(1, 10), [2, 4, 5, 5, 4, 3, 2, 2, 1])
    t.say(f"{NUMBERS[n]} ")
    thing = pen.pick(THING_LIST, THING_WEIGHTS)
    t.say(f"{thing if n == 1 else THINGS[thing]}.")
    if pen.pick(["more", "fewer"], [3, 2]) == "more":
        t.say(f" {cap(t.pal())} gave {t.p['obj']}")
        m = pen.pick(range(1, 10), [4, 5, 4, 3, 2, 2, 1, 1, 1])
        t.say(f" {NUMBERS[m]} more. Now {t.hero} had {many(n + m, thing)}.")
    else:
        t.say(f" {cap(t.p['sub'])} gave ")
        m = pen.pick(range(1, n + 1))
        t.say(f"{NUMBERS[m]} of them to " if n > 1 else "it to ")
        t.say(t.pal())
        t.say(f". Now {t.hero} had {many(n - m, thing)} left.")


def scene_talk(t):
    pen = t.pen
    pal = t.pal()
    t.say(f" {cap(pal)} came and asked, \"Where are you going, {t.hero}?\"")
    place = t.place or pen.pick(PLACES, PLACE_WEIGHTS)
    t.place = place
    t.say(f" \"I am going to the {place},\" said {t.hero}.")
    if pen.pick([True, False], [3, 1]):
        t.say(f" So {t.hero} and {t.friend} went to the {place} together.")
    else:
        t.say(f" But {t.friend} did not want to go to the {place}.")


def scene_animal(t):
    pen = t.pen
    t.say(f" {t.who()} saw ")
    t.say(a(pen.pick(["big", "small", "hungry", "happy", "old", "sleepy"])))
    animal = t.met = pen.pick(ANIMAL_LIST, ANIMAL_WEIGHTS)
    sound, food = ANIMALS[animal]
    t.say(f" {animal}.")
    act = pen.pick(["says", "eats", "both"], [3, 2, 2])
    if act != "eats":
        t.say(f" \"{cap(sound)}!\" said the {animal}.")
    if act != "says":
        t.say(f" {t.hero} gave the {animal} some {food}.")


def scene_tall(t):
    pen = t.pen
    if pen.pick([True, False]):
        t.say(f" {t.hero} was ")
        word, most = pen.pick(GRADES)
        t.say(f"{word} than {t.pal()}, and {t.friend} was {word} than ")
        t.say(other(pen, NAMES, t.hero, t.friend) + ".")
        first = t.hero
    else:
        first = other(pen, NAMES, t.hero, t.friend)
        t.say(f" {first} was ")
        word, most = pen.pick(GRADES)
        t.say(f"{word} than {t.hero}, and {t.hero} was {word} than ")
        t.say(f"{t.pal(first)}.")
    t.say(f" So {first} was the {most} of the three.")


def scene_paint(t):
    pen = t.pen
    t.say(f" {t.who()} mixed ")
    one, two, made = pen.pick(MIXES)
    if pen.pick([True, False]):
        one, two = two, one
    t.say(f"{one} paint with {two} paint and got {made} paint.")
    if pen.pick([True, False]):
        thing = pen.pick(["door", "wall", "chair", "boat", "gate"])
        t.say(f" Then {t.p['sub']} painted the {thing}, and the {thing} was {made}.")


def scene_kin(t):
    pen = t.pen
    kin = pen.pick(list(KIN), [4, 3, 2, 2, 2, 2, 1, 1])
    t.say(f" {cap(t.p['own'])} {kin} made some ")
    meal = pen.pick(MEALS, [4, 3, 2, 2, 1, 1])
    p = SHE if KIN[kin] == "f" else HE
    t.say(f"{meal}. \"Eat your {meal}, {t.hero},\" {p['sub']} said.")
    if pen.pick([True, False]):
        t.say(f" {t.hero} ate the {meal} and thanked {t.p['own']} {kin}.")


def scene_hide(t):
    pen = t.pen
    t.say(f" {cap(t.pal())} hid")
    spot = pen.pick(SPOTS)
    t.say(f" {spot}. {t.hero} looked ")
    t.say(other(pen, SPOTS, spot))
    t.say(f", but {t.friend} was not there. Then {t.p['sub']} looked {spot} and found {t.friend}.")


def scene_trade(t):
    pen = t.pen
    t.say(f" {t.hero} gave {t.pal()} ")
    color = pen.pick(COLORS, COLOR_WEIGHTS)
    t.say(a(color))
    thing = pen.pick(THING_LIST, THING_WEIGHTS)
    t.say(f" {thing}. {t.friend} gave {t.hero} ")
    color2 = other(pen, COLORS, color)
    t.say(a(color2))
    thing2 = other(pen, THING_LIST, thing)
    t.say(f" {thing2}. Now {t.friend} had the {color} {thing} and {t.hero} had the {color2} {thing2}.")


def scene_not(t):
    pen = t.pen
    thing = pen.pick(["house", "road", "box", "boat", "stone", "bread", "water", "chair"])
    t.say(f" The {thing} was not ")
    pair = pen.pick(OPPOSITES[:9])
    if pen.pick([True, False]):
        pair = pair[::-1]
    t.say(f"{pair[0]}. It was {pair[1]}.")


def scene_day(t):
    t.say(" It was still " if t.day else " That was on ")
    before = t.day or t.pen.pick(DAYS)
    t.day = DAYS[(DAYS.index(before) + 1) % 7]
    t.say(f"{before}. The next day was {t.day}, and {t.p['sub']} went to {t.pen.pick(['work', 'swim', 'play', 'sing', 'dance'])}.")


def scene_job(t):
    t.say(f" {t.who()} met ")
    job = t.pen.pick(list(JOBS))
    t.say(a(job))
    name = other(t.pen, NAMES, t.hero, t.friend)
    verb, what = JOBS[job]
    t.say(f" named {name}. {name} liked {pronouns(name)['own']} work and always {verb} {what}.")


SCENES = [(scene_find, 5), (scene_count, 6), (scene_talk, 3), (scene_animal, 4), (scene_tall, 2), (scene_paint, 2),
          (scene_kin, 3), (scene_hide, 2), (scene_trade, 3), (scene_not, 2), (scene_day, 2), (scene_job, 2)]


def end_home(t):
    t.say(f" In the evening {t.hero} went home.")


def end_feel(t):
    t.say(f" {t.hero} was very {t.pen.pick(['happy', 'tired', 'proud', 'hungry'], [4, 2, 1, 1])}.")


def end_kept(t):
    t.say(f" At night {t.hero} looked in {t.p['own']} {t.kept[1]}, and there was the {t.kept[0]}.")


def end_friend(t):
    t.say(f" {t.hero} and {t.friend} were good friends.")


def end_animal(t):
    t.say(f" At night {t.hero} dreamed of the {t.met}. \"{cap(ANIMALS[t.met][0])}!\" it said in the dream.")


def story(pen, hero=None):
    """Tells one story. Two to four scenes, none twice; the ending depends on what happened."""
    t = Tale(pen, hero or pen.pick(NAMES, NAME_WEIGHTS))
    pen.pick([f for f, _ in OPENINGS], [w for _, w in OPENINGS])(t)
    left = list(SCENES)
    for i in range(4):
        options = left + ([(None, 20)] if i >= 2 else [])
        scene = pen.pick([f for f, _ in options], [w for _, w in options])
        if scene is None:
            break
        left = [s for s in left if s[0] is not scene]
        scene(t)
    ends = [(end_home, 2), (end_feel, 3)]
    ends += [(end_kept, 6)] if t.kept else []
    ends += [(end_friend, 2)] if t.friend else []
    ends += [(end_animal, 2)] if t.met else []
    pen.pick([f for f, _ in ends], [w for _, w in ends])(t)


# ---- conversations -------------------------------------------------------------------------------------------------

def ask_sum(pen):
    x, y = pen.pick(range(0, 21)), pen.pick(range(0, 21))
    if pen.pick([True, False], [3, 2]):
        return f"What is {x} plus {y}?", f"{x} plus {y} is {x + y}."
    x, y = max(x, y), min(x, y)
    return f"What is {x} minus {y}?", f"{x} minus {y} is {x - y}."


def ask_story(pen):
    hero = pen.pick(NAMES)
    inner = Pen(pen.rng)
    story(inner, hero)
    if pen.pick([True, False], [4, 1]):
        return pen.pick(["Tell me a story about {}.", "Please tell me a story about {}."]).format(hero), inner.text()
    return pen.pick(["Tell me a story.", "Please tell me a story."]), inner.text()


def ask_animal(pen):
    animal = pen.pick(ANIMAL_LIST)
    if pen.pick([True, False]):
        return f"What does {a(animal)} say?", f"{cap(a(animal))} says {ANIMALS[animal][0]}."
    return f"What does {a(animal)} eat?", f"{cap(a(animal))} eats {ANIMALS[animal][1]}."


def ask_day(pen):
    i = pen.pick(range(7))
    if pen.pick([True, False]):
        return f"What day comes after {DAYS[i]}?", f"{DAYS[(i + 1) % 7]} comes after {DAYS[i]}."
    return f"What day comes before {DAYS[i]}?", f"{DAYS[(i + 6) % 7]} comes before {DAYS[i]}."


def ask_opposite(pen):
    pair = pen.pick(OPPOSITES)
    if pen.pick([True, False]):
        pair = pair[::-1]
    return f"What is the opposite of {pair[0]}?", f"The opposite of {pair[0]} is {pair[1]}."


def ask_mix(pen):
    one, two, made = pen.pick(MIXES)
    if pen.pick([True, False]):
        one, two = two, one
    return f"What color do {one} and {two} make?", f"{cap(one)} and {two} make {made}."


def ask_count(pen):
    one = pen.pick(NAMES)
    two = other(pen, NAMES, one)
    n, m, thing = pen.pick(range(1, 11)), pen.pick(range(1, 11)), pen.pick(THING_LIST)
    return (f"{one} has {many(n, thing)} and {two} has {many(m, thing)}. How many {THINGS[thing]} do they have?",
            f"They have {many(n + m, thing)}.")


def ask_tall(pen):
    one = pen.pick(NAMES)
    two = other(pen, NAMES, one)
    word = pen.pick(["taller", "older", "faster", "stronger"])
    if pen.pick([True, False]):
        return f"{one} is {word} than {two}. Who is {word}?", f"{one} is {word} than {two}."
    return f"{one} is {word} than {two}. Is {two} {word} than {one}?", f"No, {one} is {word} than {two}."


def ask_thing(pen):
    one = pen.pick(NAMES)
    color, thing, carrier = pen.pick(COLORS), pen.pick(THING_LIST), pen.pick(CARRIERS)
    p = pronouns(one)
    if pen.pick([True, False]):
        return (f"{one} put {a(color)} {thing} in {p['own']} {carrier}. Where is the {thing}?",
                f"The {color} {thing} is in {p['own']} {carrier}.")
    return (f"{one} put {a(color)} {thing} in {p['own']} {carrier}. What color is the {thing}?",
            f"The {thing} is {color}.")


def ask_polite(pen):
    return pen.pick([("Hello!", "Hello! How can I help you?"), ("Hello", "Hello! How can I help you?"),
                     ("Hi!", "Hello! How can I help you?"),
                     ("Who are you?", "I am a tiny model. I tell small stories."),
                     ("What is your name?", "My name is Tiny."),
                     ("What can you do?", "I can tell a story, add small numbers and answer easy questions."),
                     ("How are you?", "I am fine, thank you."), ("Thank you.", "You are welcome."),
                     ("Thank you!", "You are welcome."), ("Goodbye!", "Goodbye! See you soon."),
                     ("Good morning!", "Good morning! How can I help you?")])


ASKS = [(ask_sum, 6), (ask_story, 4), (ask_animal, 2), (ask_day, 2), (ask_opposite, 2), (ask_mix, 1), (ask_count, 3),
        (ask_tall, 2), (ask_thing, 2), (ask_polite, 3)]
SYSTEMS = ["You are a helpful assistant.", "You are a kind teacher.", "You tell small stories.",
           "Answer in one sentence."]


def dialogue(pen):
    """One conversation as a list of (role, content), one to four questions, each with its answer."""
    turns = []
    if pen.pick([True, False], [1, 4]):
        turns.append(("system", pen.pick(SYSTEMS)))
    for _ in range(pen.pick([1, 2, 3, 4], [3, 3, 2, 1])):
        question, answer = pen.pick([f for f, _ in ASKS], [w for _, w in ASKS])(pen)
        turns += [("user", question), ("assistant", answer)]
    return turns


# ---- whole texts ---------------------------------------------------------------------------------------------------

SEPARATOR = "\n\n"


def stories(seed, count):
    """`count` stories of one seed: (text, nats) each."""
    rng = random.Random(seed)
    for _ in range(count):
        pen = Pen(rng)
        story(pen)
        yield pen.text(), pen.nats


def floor_of(text):
    """The decisions behind a text of stories: (character position, nats), in order. Raises ValueError on other text."""
    spent, at = [], 0
    for piece in text.rstrip("\n").split(SEPARATOR):
        readings = parse(piece)
        if len(readings) != 1:
            raise ValueError(f"{len(readings)} readings of: {piece}")
        spent += [(at + position, nats) for position, nats in readings[0][1]]
        at += len(piece) + len(SEPARATOR)
    return spent


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--stories", type=int, default=0)
    args.add_argument("--dialogues", type=int, default=0)
    args.add_argument("--entropy", action="store_true")
    args.add_argument("--check", action="store_true")
    args.add_argument("--floor", metavar="FILE")
    opt = args.parse_args()

    if opt.floor:
        with open(opt.floor, encoding="utf-8") as f:
            text = f.read()
        nats = sum(n for _, n in floor_of(text))
        print(f"{nats:.3f} nats, {len(text)} characters, {nats / len(text):.5f} nats per character")
    if opt.dialogues:
        rng = random.Random(opt.seed)
        for _ in range(opt.dialogues):
            print("\n".join(f"{cap(role)}: {content}" for role, content in dialogue(Pen(rng))), end=SEPARATOR)
    told, nats, characters = [], 0.0, 0
    for text, cost in stories(opt.seed, opt.stories):
        nats, characters = nats + cost, characters + len(text)
        if opt.check:
            readings = parse(text)
            if len(readings) != 1 or abs(readings[0][0] - cost) > 1e-9:
                sys.exit(f"{len(readings)} readings, {cost} nats: {text}")
        elif opt.entropy:
            print(f"{cost:8.3f} nats {len(text):5d} characters")
        else:
            told.append(text)
    if told:
        print(SEPARATOR.join(told))
    if opt.stories and (opt.check or opt.entropy):
        print(f"{nats:.3f} nats, {characters} characters in {opt.stories} stories"
              + (", each with exactly one reading" if opt.check else ""))


if __name__ == "__main__":
    main()
