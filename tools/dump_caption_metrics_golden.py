#!/usr/bin/env python3
"""Writes tests/golden/eval/text.json: what pycocoevalcap (with its Java tokeniser and METEOR) and VQA's script measure.

    python tools/dump_caption_metrics_golden.py
    python tools/dump_caption_metrics_golden.py --compare SHARD.tar --fovea build/release/fovea

The second form writes nothing: it takes the first caption of each sample of a shard as the prediction of the sample after it, and
compares the numbers of `fovea eval caption` with those of pycocoevalcap. Needs java; salesforce-lavis only for its copy of VQA's
script (pip install --no-deps salesforce-lavis==1.0.2).
"""
import argparse
import importlib.metadata
import importlib.util
import json
import pathlib
import random
import subprocess
import tarfile
import tempfile

import pycocoevalcap
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/eval/text.json"
METEOR = pathlib.Path(list(pycocoevalcap.__path__)[0]) / "meteor/meteor-1.5.jar"

TRICKY = """A colour of grey, the neighbour's harbour at the theatre.
The man isn't here; he can't, won't and doesn't know it's John's dog.
dogs' toys and the boys' club, James' hat
I'm you're we've they'll he'd she's Don't DON'T
He said "hello there" and 'bye'.
"Quoted" (in parentheses) [square] {curly} < 5 > 3
A 1/2 cup, 3 1/4 cups, and 10:30 a.m. at 5 p.m. in the U.S. army
U.S. U.S.A. U.K. J. Smith and J.R.R. Tolkien
Mr. Smith, Mrs. Jones, Dr. Who, St. Louis, Mt. Fuji, Lt. Col. Ave. Blvd. Rd. St.
vs. etc. e.g. i.e. Inc. Ltd. Co. Corp. Jr. Sr. No. 5 no. 7 fig. 3 approx. 5
Jan. Feb. Mar. Apr. Aug. Sept. Dec. Mon. Tue. Sat. Sun.
$5 £10 €20 ¥30 5% 50¢ US$5 #1 No.1
1,000 people -5 +3 3.14 .5 1,234,567.89 12:30:45 5-6 10-year-old 2x4 3D 4th 20's '90s '70s
well-known black-and-white t-shirt -dash dash- a - b -- c --- d ---- e
Wait... what?! Really?? No!!! . . . ok
a/b and/or w/ w/o he/she 24/7 1/2/2014 12-25-2014
A&W AT&T B & B &amp; &lt; &quot;x&quot;
http://www.example.com/foo?x=1 www.example.com example.com foo@bar.com @user #hashtag
C++ C# a+b = c == d * ** / \\ | ~ ^ _ __ `x` ``y''
don’t “curly quotes” ‘single’ – en — em … dots
cannot gonna gotta wanna lemme gimme 'tis 'twas
y'all o'clock ma'am O'Brien d'Avignon rock'n'roll 'em 'til 'cause c'mon ol' somethin'
café naïve Zoë über 犬 русский
25°C 100° 5'6" 10ft. 12" x 12" 2 ½ ½
file.jpg a.b Hello.World end.Start
555-1234 (555) 123-4567 555-123-4567 1-800-555-1234
The dog.The cat. The dog .the cat ,a b,c a;b x.; y
Ph.D. M.D. D.C. Washington D.C. L.A. is big
man 's dog n't 'll do n't
could've shouldn't've I'd've who're that'd
a_b snake_case rock&roll R&B
The U.S. He went. You. It is I. The end
1. 2) 3] item 5: six; seven
hello...world x!y Yahoo! OK!
20th-century 5-year-old's kids' kid's
½-inch 3/4-inch
 leading space trailing \ttab  double
...
'"""

NOUNS = "dog dogs cat cats man men woman women child children boy girl player players horse horses bird biker skier runner".split()
COLOURS = "brown black white red yellow grey small large young two three".split()
VERBS = "runs running run jumps jumping plays playing sits sitting stands standing looks looking holds holding walks walking".split()
PLACES = "in the grass;on a grassy field;near the water;at the beach;beside a wooden fence;in front of a building;on the street;in the snow".split(";")
THINGS = "with a ball;with a frisbee in its mouth;and a tennis racket;wearing a blue shirt;while another one watches;, happily;".split(";")


def sentence(rng, theme):
    pick = lambda options: rng.choice([rng.choice(options), options[theme % len(options)]])
    article = rng.choice(["A", "The", "One"])
    return f"{article} {pick(COLOURS)} {pick(NOUNS)} {rng.choice(['is ', ''])}{pick(VERBS)} {pick(PLACES)} {pick(THINGS)}".strip() + rng.choice([".", " .", ""])


def tokenize(texts):
    found = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(texts)})
    return [found[i][0] for i in range(len(texts))]


def meteor(predictions, references):
    """METEOR 1.5 with exact and stem alone, over the tokens as they are."""
    process = subprocess.Popen(["java", "-jar", "-Xmx1G", str(METEOR), "-", "-", "-stdio", "-l", "en", "-m", "exact stem"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8")
    ask = lambda line: (process.stdin.write(line + "\n"), process.stdin.flush(), process.stdout.readline().strip())[2]
    stats = [ask(" ||| ".join(["SCORE", *r, p])) for p, r in zip(predictions, references)]
    process.stdin.write("EVAL ||| " + " ||| ".join(stats) + "\n")
    process.stdin.close()
    numbers = [float(line) for line in process.stdout.read().split()]
    return numbers[-1], numbers[:-1]


def measure(predictions, references):
    flat = tokenize(predictions + [r for refs in references for r in refs])
    p, rest, r = flat[:len(predictions)], iter(flat[len(predictions):]), []
    for refs in references:
        r.append([next(rest) for _ in refs])
    res, gts = {i: [x] for i, x in enumerate(p)}, dict(enumerate(r))
    bleu, bleus = Bleu(4).compute_score(gts, res, verbose=0)
    rouge, rouges = Rouge().compute_score(gts, res)
    cider, ciders = Cider().compute_score(gts, res)
    met, mets = meteor(p, r)
    return {"total": {"bleu": bleu, "rouge_l": float(rouge), "cider_d": float(cider), "meteor": met},
            "each": {"bleu": bleus, "rouge_l": rouges.tolist(), "cider_d": ciders.tolist(), "meteor": mets}}


def captions(rng):
    references = [[sentence(rng, i) for _ in range(1 + i % 5)] for i in range(60)]
    predictions = [rng.choice([sentence(rng, i), references[i][0], sentence(rng, i + 3)]) for i in range(60)]
    predictions[7], predictions[8] = "", "zebra"
    references[9], predictions[9] = ["2 1/2 cups of A&W (cold), it's good!", "two and a half cups"], "2 1/2 cups of A&W, isn't it good?"
    return {"predictions": predictions, "references": references, **measure(predictions, references)}


def vqa_script():
    path = importlib.metadata.distribution("salesforce-lavis").locate_file("lavis/common/vqa_tools/vqa_eval.py")
    spec = importlib.util.spec_from_file_location("vqa_eval", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.VQAEval


class Stub:
    def __init__(self, qa):
        self.qa = qa

    def getQuesIds(self):
        return list(self.qa)


def answers(rng):
    VQAEval = vqa_script()
    raw = ["The two dogs!", "yes.", "a  man", "1,000 people", "3.5", "no, it's not", "dont know", "isnt", "couldntve", "o'clock", "10 a.m.",
           "toy_house", "black/white", "t-shirt", "  None ", "ten", "Ten, nine", "what?", "U.S.A.", "(left)", "the", "", "an apple; the pear",
           "shes", "he's", "youre", "yall'll", "somebody'd", "1,5 , 6", "x . y", "a.b.c", "\"quoted\"", "new\nline\tone", "50%", "ÉCOLE", "-5", "5-6", "[x]",
           "twas", "who'dve", ". . . ." * 12]
    script = VQAEval()
    full = lambda text: script.processDigitArticle(script.processPunctuation(text.replace("\n", " ").replace("\t", " ").strip()))
    pool = ["yes", "no", "2", "two", "red", "red.", "a dog", "dog", "dogs", "toy house", "toy_house", "Yes", "isnt"]
    judged, gts, res = [], {}, {}
    for i in range(60):
        n = 10 if i < 40 else 1 + i % 9
        few = rng.sample(pool, 3)
        people = [rng.choice(few) for _ in range(n)] if i % 5 else [few[0]] * n
        judged.append({"answer": rng.choice(few), "people": people})
        gts[i] = {"answers": [{"answer": a, "answer_id": j} for j, a in enumerate(people)], "question_type": "x", "answer_type": "y"}
        res[i] = {"answer": judged[-1]["answer"]}
    official = VQAEval(Stub(gts), Stub(res), n=10)
    official.updateProgress = lambda share: None
    official.evaluate()
    for i, one in enumerate(judged):
        one["official"] = official.evalQA[i] / 100
    return {"raw": raw, "normal": [full(text) for text in raw], "judged": judged}


def compare(shard, fovea):
    with tarfile.open(shard) as tar:
        notes = {m.name[:-5]: json.loads(tar.extractfile(m).read()) for m in tar if m.name.endswith(".json")}
    notes = {k: n["captions"] for k, n in notes.items() if n.get("captions")}
    keys = list(notes)
    predictions = [notes[keys[i - 1]][0] for i in range(len(keys))]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "predictions.jsonl"
        file.write_text("".join(json.dumps({"key": k, "caption": p}) + "\n" for k, p in zip(keys, predictions)))
        run = subprocess.run([fovea, "eval", "caption", "--json", "--resamples", "0", "--predictions", file, "--data", shard], capture_output=True, text=True, check=True)
    found, wanted = json.loads(run.stdout), measure(predictions, [notes[k] for k in keys])["total"]
    pairs = {"cider_d": wanted["cider_d"], "rouge_l": wanted["rouge_l"], "meteor_exact_stem": wanted["meteor"], **{f"bleu{n + 1}": b for n, b in enumerate(wanted["bleu"])}}
    for name, value in pairs.items():
        print(f"{name:18} fovea {found[name]:.8f}  pycocoevalcap {value:.8f}  difference {abs(found[name] - value):.1e}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compare")
    parser.add_argument("--fovea", default="build/release/fovea")
    arguments = parser.parse_args()
    if arguments.compare:
        return compare(arguments.compare, arguments.fovea)
    rng = random.Random(3)
    tricky = TRICKY.split("\n")
    tokens = [{"text": text, "tokens": [w for w in line.split(" ") if w]} for text, line in zip(tricky, tokenize(tricky))]
    OUT.write_text(json.dumps({"tokens": tokens, "captions": captions(rng), "answers": answers(rng)}, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
