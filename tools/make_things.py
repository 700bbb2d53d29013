#!/usr/bin/env python3
"""Writes src/library/things_table.cc: English words for things that can be seen, by kind, with their plurals.

    python3 tools/make_things.py CAPTIONS.tar...       (Debian package wordnet-base)

There is no tagger of parts of speech in Fovea, and none is needed to find "dog" in a caption: a list does it. It holds the words and pairs
of words of the captions given (at least LEAST times) that WordNet 3.0 knows as nouns whose first sense is something physical, and that are
nouns more often than anything else in the texts WordNet's authors have counted. Needs nothing but Python's standard library.
"""

import collections
import json
import re
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDNET = Path("/usr/share/wordnet")
LEAST = 3
# Lexicographer files of WordNet and what we call them; a place is what its hypernyms say.
KINDS = {5: "animal", 6: "object", 8: "body", 13: "food", 17: "place", 18: "person", 19: "substance", 20: "plant", 27: "substance"}
PLACES = {"structure", "construction", "way", "area", "room", "building", "facility", "location", "body_of_water", "geological_formation", "land",
          "roof", "floor", "geographical_area", "line", "surface"}
# Words that are no things in captions, whatever WordNet says first.
NOT_THINGS = set("""a an the i in on at as at are is was be it he she his her him they them their this that these those and or of off to by up out over
one two three four five six seven eight nine ten another other both each all some many few several more most who which what where
front back side top bottom middle end center corner edge left right rear part piece pair group lot bunch row line set number kind type way shot
view image picture photo photograph background foreground scene close distance color colour white black red blue green yellow brown orange pink
grey gray purple dark light bright gold silver blond blonde air ground something someone thing things object objects item items area place spot
can will may must do does did have has had being down round there here while so no not
go going run running play playing jump jumping walk walking stand standing sit sitting look looking hold holding ride riding catch throw kick hit
jumps runs plays walks stands sits looks holds rides catches throws kicks hits swing swings work works smile smiles watch watches pull pulls push
take takes make makes show shows pose poses face faces head heads body bodies past next high low open fast small big large little young old
wear fly flies dress match matches post block blocks track rest dry wet stick lean leans climb climbs lead leads land lands leap leaps race races
dance dances dive dives drink drinks fall falls float floats hang hangs slide slides step steps skate skates ski skis surf surfs swim swims
sleep sleeps splash splashes stretch tackle wave waves wait waits talk talks turn turns eat eats pass passes perform cross crosses fight fights cut
cuts paint rocks rock pose use uses exercise travel travels point points fish fishing guard cover covers point style floor-length
action game games competition event trick tricks sunset snack fun food-filled""".split()) - set("rock rocks fish dress wave waves post stick track face faces head heads guard".split())
# Abstract, or something else in captions than what WordNet names first.
NOT_THINGS |= set("""hind vintage closeup nude floatation attraction current commuter transit miniature scenery contraption circuit derby cob official ways
uphill world web cell chip transportation airline public_transit crust rapid rapids vault afro giant queen female females male males piggy coaster
controller crank character decker domino duke dummy elder energizer fellow carrier goofy homeless hood hummer jackson jesus louis david michael miami
lassie lasso nike pacifier picket planter polo puck quad russell sooner sooners viewer winner master messenger chess climber mustard clover alligator
crystal weather cold_weather copper drier incense junk lime neon pad pads spar storm straw stuff turquoise wind winds material african-american american
americans arab armenian asian australian german indian white_man black_man black_woman black_sheep white_sheep white_room attire vehicle_s product
products merchandise freight garter gigolo condom condoms nipple bone blood sweat muscle pathway palm lid facial device fixture fixtures hopper halter
floppy trench tails balance belts african_american african_americans condom rest commuter_train appliance_s backdrop black_belt black_belts
dalmatian_s mime son chap chaps youth sister brother brothers covering crevasse outcropping shallow shallows window_s ingredient ingredients
sunlight sunshine""".split())
# What WordNet's first sense misses: other senses are meant in pictures. Names of COCO's objects are among them.
MORE = {
    "person": "person/people/persons crowd/crowds couple/couples family/families team/teams band child/children/kid/kids",
    "animal": "animal/animals bear/bears duck/ducks tiger/tigers bunny/bunnies alligator/alligators cow/cows dalmatian/dalmatians",
    "food": "food hot_dog/hot_dogs/hotdog/hotdogs orange/oranges pizza/pizzas/slice cake/cakes donut/donuts/doughnut/doughnuts egg/eggs snack/snacks",
    "plant": "plant/plants potted_plant/potted_plants leaf/leaves",
    "object": "table/tables book/books train/trains sink/sinks tv/tvs/television traffic_light/traffic_lights stop_sign/stop_signs sign/signs kite/kites "
              "tie/ties ski/skis skateboard/skateboards sports_ball baseball/football/basketball/volleyball/soccer wine_glass/wine_glasses glass/glasses "
              "remote/remotes mouse/mice microwave/microwaves toaster/toasters hair_drier/hair_dryer stroller/strollers trailer/trailers toilet/toilets "
              "cell_phone/cell_phones fire_hydrant/fire_hydrants dress/dresses swing/swings slide/slides board/boards light/lights rope/ropes shoe/shoes "
              "picture_frame/picture_frames frisbee/frisbees bowl/bowls racket/rackets tennis_racket/tennis_rackets handbag/handbags desk/desks "
              "camera/cameras letter/letters tube/tubes ladder/ladders ribbon/ribbons rocket/rockets coin/coins jean/jeans pant/pants bat/bats surfboard/surfboards "
              "refrigerator/refrigerators/fridge/fridges toothbrush/toothbrushes scissors teddy_bear/teddy_bears dining_table/dining_tables clock/clocks vase/vases",
    "place": "beach/beaches field/fields park/parks city/cities town village forest/forests wood/woods river/rivers lake/lakes pool/pools "
             "playground/playgrounds ground desert market/markets window/windows corner_shop path/paths trail/trails court/courts stage/stages yard lawn "
             "galaxy/galaxies night_sky parking_lot/parking_lots intersection",
    "body": "hand/hands eye/eyes leg/legs arm/arms",
}


def nouns():
    """lemma -> (lexicographer file of the first sense, its synset), and synset -> (words, hypernyms)."""
    synsets = {}
    for line in open(WORDNET / "data.noun", encoding="ascii"):
        if line.startswith(" "):
            continue
        fields = line.split(" | ")[0].split()
        words = int(fields[3], 16)
        names = [fields[4 + 2 * i].lower() for i in range(words)]
        pointers, at = int(fields[4 + 2 * words]), 5 + 2 * words
        above = [fields[at + 4 * i + 1] for i in range(pointers) if fields[at + 4 * i] in ("@", "@i")]
        synsets[fields[0]] = (int(fields[1]), names, above)
    first = {}
    for line in open(WORDNET / "index.noun", encoding="ascii"):
        if not line.startswith(" "):
            fields = line.split()
            first[fields[0]] = fields[6 + int(fields[3])]
    return first, synsets


def counts():
    """(lemma, part of speech) -> how often WordNet's authors met it; noun, verb, other."""
    found = collections.Counter()
    for line in open(WORDNET / "cntlist.rev", encoding="ascii"):
        key, _, count = line.split()
        lemma, sense = key.rsplit("%", 1)
        found[lemma, {"1": "noun", "2": "verb"}.get(sense[0], "other")] += int(count)
    return found


def exceptions(name):
    return {fields[0]: fields[1] for fields in (line.split() for line in open(WORDNET / name, encoding="ascii")) if len(fields) > 1}


def stems(word, irregular, endings):
    if word in irregular:
        yield irregular[word]
    yield word
    for ending, instead in endings:
        if word.endswith(ending) and len(word) > len(ending) + 1:
            yield word[: -len(ending)] + instead


NOUN_ENDINGS = [("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")]
VERB_ENDINGS = [("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")]


def main():
    first, synsets = nouns()
    times, noun_exceptions, verb_exceptions = counts(), exceptions("noun.exc"), exceptions("verb.exc")
    forms = collections.Counter()
    for name in sys.argv[1:]:
        with tarfile.open(name) as shard:
            for member in shard:
                if not member.name.endswith(".json"):
                    continue
                notes = json.load(shard.extractfile(member))
                for text in [*notes.get("captions", []), *notes.get("objects", [])]:
                    words = re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())
                    forms.update(words)
                    forms.update("_".join(pair) for pair in zip(words, words[1:]))

    def hypernyms(synset):
        for above in synsets[synset][2]:
            yield from synsets[above][1]
            yield from hypernyms(above)

    def kind_of(lemma):
        synset = first.get(lemma)
        if synset is None:
            return None
        kind = KINDS.get(synsets[synset][0])
        if kind == "object" and PLACES & {*synsets[synset][1], *hypernyms(synset)}:
            return "place"
        return kind

    things = collections.defaultdict(lambda: collections.defaultdict(set))
    for form, count in forms.items():
        if count < LEAST or form in NOT_THINGS or len(form) < 3:
            continue
        last = form.split("_")[-1]
        if "_" in form and (last in NOT_THINGS or form.split("_")[0] in NOT_THINGS - {"light", "white", "black", "head", "hot", "high", "ice"}):
            continue
        lemma = next((s for s in stems(form, noun_exceptions, NOUN_ENDINGS) if s in first and (s == form or "_" in s or s not in NOT_THINGS)), None)
        if lemma is None or kind_of(lemma) is None:
            continue
        if "_" not in form:
            as_noun = times[lemma, "noun"]
            as_verb = max((times[s, "verb"] for s in stems(form, verb_exceptions, VERB_ENDINGS)), default=0)
            if as_noun < max(as_verb, times[form, "other"]):
                continue
        things[kind_of(lemma)][lemma].add(form)
    for kind, words in MORE.items():
        for group in words.split():
            lemma, *others = group.split("/")
            for known in things.values():
                for word in (lemma, *others):
                    known.pop(word, None)
            things[kind][lemma] |= {lemma, *others}
    text = ["// Made by tools/make_things.py from WordNet 3.0 (Copyright 2006 by Princeton University; its licence allows any use, and is",
            "// https://wordnet.princeton.edu/license-and-commercial-use) and the words of captions of Flickr8k and COCO. Forms of one word",
            "// are joined by /, the first is the singular.",
            '#include "library/things.h"', "", "namespace fovea::library {", "",
            "const std::vector<ThingsOfKind>& ThingsTable() {", "  static const std::vector<ThingsOfKind> table = {"]
    for kind in sorted(things):
        words = ["/".join([lemma, *sorted(f for f in found if f != lemma)]) for lemma, found in sorted(things[kind].items())]
        text.append(f'      {{"{kind}",')
        line = ""
        for word in words:
            if len(line) + len(word) > 100:
                text.append(f'       "{line.strip()} "')
                line = ""
            line += word + " "
        text.append(f'       "{line.strip()}"}},')
    text += ["  };", "  return table;", "}", "", "}  // namespace fovea::library", ""]
    (ROOT / "src/library/things_table.cc").write_text("\n".join(text))
    print({kind: len(found) for kind, found in things.items()})


if __name__ == "__main__":
    main()
