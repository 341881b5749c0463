"""What a run records: its configuration and lineage at its start, and what its weights say of themselves."""

import json
from typing import Any

from fgnet_jax.distill.batches import StudentFaces
from fgnet_jax.distill.run import INPUTS, DistillRun
from fgnet_jax.models import lineage
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import files, provenance
from fgnet_jax.train import workdirs


def write_begin(run: DistillRun) -> None:
    """Write configuration, inputs, provenance, corpora and lineage into the workdir; the configuration last."""
    workdirs.write_record(run.workdir / workdirs.LINEAGE, [link.to_dict() for link in chain(run, 0, None)])
    workdirs.write_record(run.workdir / workdirs.CORPORA, corpora(run))
    contents = {INPUTS: run.cache_settings(), workdirs.PROVENANCE: provenance.provenance()}
    contents[workdirs.CONFIG] = run.config.to_dict()
    for name, content in contents.items():
        files.write_text(run.workdir / name, json.dumps(content, indent=2) + "\n")


def corpora(run: DistillRun) -> list[dict[str, Any]]:
    """Return the identities of all corpora that teachers and student have learnt from, or are tested on, each once."""
    own = [] if run.inputs.data is None else [identity.to_dict() for identity in run.inputs.data.identities]
    recorded = [values for teacher in run.teachers for values in teacher.meta.extra.get("corpora", ())]
    return list({json.dumps(values, sort_keys=True): values for values in (*own, *recorded)}.values())


def chain(run: DistillRun, step: int, faces: StudentFaces | None) -> tuple[Link, ...]:
    """Return the lineage of the student: the links of its teachers, each once, and its own.

    Its own link names the subjects of the corpus' faces, labelled or not: it is not tested on them.

    Args:
      run: The run.
      step: Updates of the student.
      faces: The faces, once they are known.
    """
    data, uses_labels = run.inputs.data, run.step.label_weight > 0
    earlier: list[Link] = []
    for link in (link for teacher in run.teachers for link in teacher.links):
        earlier += [link] if link not in earlier else []
    counts = {} if faces is None else face_counts(run, faces)
    own = Link(
        kind=lineage.DISTILLED,
        name=run.workdir.absolute().name,
        corpus=run.config.data.corpus if data is not None and uses_labels else None,
        fold=None if data is None else run.config.data.fold,
        aus=run.aus,
        subjects={} if data is None else data.train.subjects_by_corpus(),
        held_out={} if data is None else data.select.subjects_by_corpus(),
        fingerprints={} if data is None else {i.name: i.fingerprint for i in data.train.corpus.identities},
        teachers={teacher.name: teacher.sha256 for teacher in run.teachers},
        faces=counts,
        steps=step,
        selection="" if faces is None else selection(faces),
    )
    return (*earlier, own)


def face_counts(run: DistillRun, faces: StudentFaces) -> dict[str, int]:
    """Return from how many faces the student has learnt: of a corpus, and of files."""
    sources = faces.cached.source[faces.train]
    of_corpus = int((sources == 0).sum()) if run.inputs.data is not None else 0
    return {"corpus": of_corpus, "files": len(sources) - of_corpus}


def selection(faces: StudentFaces) -> str:
    """Return the rule by which a step is selected, in words."""
    return f"least difference from its teachers' heatmaps on {len(faces.held_out)} faces ({faces.rule})"


def meta(run: DistillRun, faces: StudentFaces, *, step: int, measured: dict[str, float]) -> WeightsMeta:
    """Return what a student's weights record: its AUs, its lineage, and of whom it has learnt.

    `corpus` and fold are those that the AUs are from, its first teacher's: protocols test it as that one.
    """
    links = chain(run, step, faces)
    data = run.inputs.data
    corpus = next((teacher.meta.corpus for teacher in run.teachers if teacher.meta.corpus), None)
    left_out = {link.fold for link in links if link.corpus == corpus}
    trained_on = {
        "corpus": corpus,
        "updates": step,
        "frames": len(faces.train),
        "subjects": {} if data is None else data.train.subjects_by_corpus(),
        "held_out": {} if data is None else data.select.subjects_by_corpus(),
    }
    if len(left_out) == 1 and None not in left_out:
        trained_on["fold"] = left_out.pop()
    extra = {
        "step": step,
        "selection": selection(faces),
        **{f"selection_{name}": value for name, value in measured.items()},
        "trained_on": trained_on,
        lineage.KEY: [link.to_dict() for link in links],
        "corpora": corpora(run),
    }
    return WeightsMeta(aus=run.aus, corpus=corpus, extra=extra)
