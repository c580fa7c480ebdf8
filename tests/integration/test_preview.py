"""`preview` shows what each feature was made of beside what a model sees."""

from __future__ import annotations

from tests.churn import Project, customers


def test_encoded_values_stand_beside_their_source_columns(project: Project, capsys) -> None:
    rows = customers(0, 6)
    rows.loc[1, "age"] = None
    project.land(rows, "first")
    project.write_workload(features=["age", "plan", {"thrift": "spend / (age + id)"}])
    assert project.run("preview", "churn", "--rows", "6", "--json") == 0
    found = sorted(project.result(capsys.readouterr().out), key=lambda row: row["key"]["id"])
    assert len(found) == 6
    codes = {shown["features"]["plan"]["value"]: set() for shown in found}
    for (_, row), shown in zip(rows.iterrows(), found, strict=True):
        features, missing = shown["features"], row["age"] != row["age"]
        assert shown["key"] == {"id": row["id"]}
        age = None if missing else row["age"]
        assert features["age"] == {"source": {"age": age}, "value": age, "encoded": age}
        plan = features["plan"]
        assert (plan["source"], plan["value"]) == ({"plan": row["plan"]}, row["plan"])
        codes[row["plan"]].add(plan["encoded"])
        thrift = features["thrift"]
        assert thrift["source"] == {"age": age, "id": row["id"], "spend": row["spend"]}
        assert thrift["encoded"] == (None if missing else row["spend"] / (row["age"] + row["id"]))
    assert sorted(map(tuple, codes.values())) == [(code + 1.0,) for code in range(len(codes))]

    assert project.run("preview", "churn", "--rows", "6") == 0
    text = capsys.readouterr().out
    assert "null -> missing" in text
    assert f"{rows['age'][0]} -> {rows['age'][0]:g}" in text
    assert f"age={rows['age'][0]}, id=0, spend={rows['spend'][0]} -> " in text
