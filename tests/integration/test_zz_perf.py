import time
from datetime import timedelta, timezone, datetime
from pyspark.sql import functions as F
from lakescore.lake.freshness import newest_moment
def test_perf(spark, tmp_path):
    p=str(tmp_path/"t")
    for i in range(20):
        spark.range(i*300_000,(i+1)*300_000).selectExpr("id","rand() a","rand() b","timestamp_seconds(1700000000 + id) ts","cast(timestamp_seconds(1700000000 + id) as date) day").coalesce(1).write.format("delta").mode("append").save(p)
    df=lambda: spark.read.format("delta").load(p)
    def t(f):
        out=[]
        for _ in range(5):
            s=time.time(); f(); out.append(round(time.time()-s,2))
        return out
    n=datetime.fromtimestamp(1700000000+6_000_000,tz=timezone.utc)
    print("full ts", t(lambda: df().selectExpr("max(ts)").collect()))
    print("full day", t(lambda: df().selectExpr("max(day)").collect()))
    print("ours ts", t(lambda: newest_moment(df(),"ts",now=n,within=timedelta(hours=12),where="t")))
    print("ours day", t(lambda: newest_moment(df(),"day",now=n,within=timedelta(days=1),where="t")))
    print("stale ts", t(lambda: newest_moment(df(),"ts",now=n+timedelta(days=90),within=timedelta(hours=12),where="t")))
    df().selectExpr("max(day)").explain()
    df().selectExpr("max(ts)").explain()
