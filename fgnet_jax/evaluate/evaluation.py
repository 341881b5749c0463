"""Carrying out a requested evaluation, by its protocol."""

import dataclasses

from fgnet_jax.evaluate import efficiency, protocols, request, study
from fgnet_jax.evaluate.protocols import Evaluation
from fgnet_jax.evaluate.request import Request
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.evaluate.tested import NetworkPredictor, Predictor


def evaluate(predictor: Predictor, spec: Request) -> Evaluation:
    """Evaluate by a protocol, whatever predictions come from."""
    if spec.protocol == request.SINGLE:
        [run] = spec.runs
        return protocols.single(predictor, spec.options, run=run, corpus=spec.corpus, split=spec.split)
    if spec.protocol == request.WITHIN:
        return protocols.within(predictor, spec.options, runs=spec.runs, corpus=spec.corpus)
    if spec.protocol == request.CROSS:
        return protocols.cross(predictor, spec.options, runs=spec.runs, source=spec.source, target=spec.corpus)
    if spec.protocol == request.STUDY:
        return study.study(predictor, spec.options, runs=spec.runs, source=spec.source, target=spec.corpus)
    return efficiency.efficiency(predictor, spec.options, runs=spec.runs, corpus=spec.corpus)


def by_networks(data: EvalData, spec: Request) -> Evaluation:
    """Evaluate with the networks themselves; the report records the request, from which it can be made again."""
    done = evaluate(NetworkPredictor(data, spec.options), spec)
    extra = done.report.extra | {request.KEY: spec.to_dict(data)}
    return dataclasses.replace(done, report=dataclasses.replace(done.report, extra=extra))
