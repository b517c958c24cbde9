import sys, tempfile, traceback, time
from pathlib import Path
from random import Random
from collections import Counter
from fuzz.targets import TARGETS
from fuzz.watch import opened
def main(name, n):
    t = TARGETS[name]; folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    fails = Counter(); first={}
    with opened(t, folder) as watch:
        seeds = list(t.seeds()); r = Random(1); pool=list(seeds)
        s=time.time(); c=time.process_time()
        for seed in seeds:
            o = watch(seed)
            if o != "accepted": print("SEED", o, seed[:80])
        for i in range(n):
            d = t.mutate(r.choice(pool), r, t.words)
            if r.random()<.1 and len(pool)<200: pool.append(d)
            try: watch(d)
            except BaseException as e:
                if isinstance(e, KeyboardInterrupt): raise
                tb = traceback.extract_tb(e.__traceback__)[-1]
                k = f"{type(e).__name__} {str(e)[:150]} {tb.filename[-40:]}:{tb.lineno}"
                k = f"{type(e).__name__} {tb.filename[-40:]}:{tb.lineno}" if not type(e).__name__=="FoundError" else k
                fails[k]+=1; first.setdefault(k,(d[:300], e))
        print(name, n, f"{n/(time.time()-s):.0f}/s wall", f"{n/(time.process_time()-c):.0f}/s cpu", f"slowest {watch.slowest:.2f}", dict(watch.outcomes))
        for k,v in fails.most_common(12): print("  FAIL", v, k, first[k][0]);
        for k in list(first)[:2]: traceback.print_exception(first[k][1], limit=-6)
main(sys.argv[1], int(sys.argv[2]))
