"""One HTML page of a run: what came out, where cycles and energy went, and images worth a look.

The page stands alone: plotly.js is in it, images are in it, and its policy forbids the browser to
load anything, or to run a script other than the two that were put there. Text from the record goes
through Jinja's escaping, through :func:`_label` where Plotly shows it, and through JSON.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image
from plotly.offline import get_plotlyjs

from accel.hardware.config import TAPS
from accel.reports.record import ImageRecord, LayerRecord, Record

INK, MUTED, GRID = "#1d2733", "#5d6b7a", "#e4e8ee"
BLUE, PALE, AMBER, GREEN, RED = "#2f6db5", "#b7cfea", "#e0a030", "#1b7a46", "#c0362c"
CAUSES = {
    "handover": ("hand-over", "#8794a3"),
    "fill": ("fill", AMBER),
    "drain": ("drain", "#d2691e"),
    "requantizer": ("requantizer", RED),
    "memory": ("memory", "#8e5aa8"),
    "input": ("input", "#2a9d8f"),
    "output": ("output", "#5c7f2f"),
}
ENERGY = {
    "multiply": ("multipliers", BLUE),
    "register_file": ("scratchpads, accumulators", "#6fb1d6"),
    "array": ("between PEs", "#2a9d8f"),
    "buffer": ("on-chip memories", AMBER),
    "dram": ("off-chip memory", RED),
}
TENSOR_COLORS = ("#5b8fc7", "#58a58c", "#d9a441", "#a578b8", "#cf7a5f", "#7d8ea1")
SHOWN_AT_ONCE = 10
MANY_LAYERS = 12
"""Above this thin boxes of the memory map are named by the table only."""
MANY_CLASSES = 20
"""Above this the confusion matrix shows colours only."""
LONG_NAME = 18


def page(record: Record) -> str:
    """The page of a run: HTML that needs nothing beside it."""
    figures = _figures(record)
    layers = record.layers
    script, plotly = Markup(_asset("report.js")), Markup(get_plotlyjs())
    return _template().render(
        record=record,
        figures=Markup(_json_for_html({k: json.loads(f.to_json()) for k, f in figures.items()})),
        height={name: figure.layout.height for name, figure in figures.items()},
        style=Markup(_asset("report.css")),
        plotly=plotly,
        script=script,
        hashes=[_hash(plotly), _hash(script)],
        lost_names={name: title for name, (title, _) in CAUSES.items()},
        total_steps=sum(layer.steps for layer in layers),
        memory_bytes=[_memory_bytes(record, layer) for layer in layers],
        energy_names=list(layers[0].energy),
        energy_totals=[
            [sum(kinds.values()) for kinds in layer.energy.values()] for layer in layers
        ],
        gated=[_gated(record, layer) for layer in layers],
        all_gated=_gated(record, *layers),
        wrong=[_card(record, image) for image in record.wrong],
        least_certain=[_card(record, image) for image in record.least_certain],
        shown_at_once=SHOWN_AT_ONCE,
        configuration=[(name, str(value).lower()) for name, value in record.configuration.items()],
    )


def _figures(record: Record) -> dict[str, go.Figure]:
    """The charts by the id of their place in the page."""
    figures = {"cycles": _cycles(record)}
    if record.confusion is not None:
        counts = np.array(record.confusion, np.float64)
        figures["confusion"] = _confusion(record, counts)
        figures["recall"] = _recall(record, counts)
    if record.cycles_per_image is not None:
        figures["lost"] = _lost(record)
        figures["roofline"] = _roofline(record)
    figures["traffic"] = _traffic(record)
    figures["energy"] = _energy(record)
    figures["variants"] = _variants(record)
    figures["memory"] = _memory_map(record)
    return figures


def _figure(height: int, **layout: Any) -> go.Figure:
    figure = go.Figure()
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 12, "t": 36, "b": 8},
        font={"family": font, "size": 12, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        # A finger that moves over a chart scrolls the page.
        dragmode=False,
        hoverlabel={"bgcolor": "white", "bordercolor": "#b8c2cd", "font": {"color": INK}},
        legend={
            "orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom",
            "traceorder": "normal", "font": {"size": 11},
        },
    )  # fmt: skip
    axis = {"automargin": True, "fixedrange": True, "zeroline": False, "gridcolor": GRID,
            "ticks": "", "title": {"font": {"color": MUTED}, "standoff": 8}}  # fmt: skip
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis, ticklabelstandoff=5)
    figure.update_layout(**layout)
    return figure


def _label(text: str) -> str:
    """Text as Plotly shall show it, which takes a subset of HTML, and not too long."""
    text = text if len(text) <= LONG_NAME else text[: LONG_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return html.escape(text)


def _layer_bars(record: Record, unit: str) -> go.Figure:
    """A figure of a horizontal bar a layer, the first on top; a name may occur twice."""
    names = [_label(layer.name) for layer in record.layers]
    figure = _figure(110 + 30 * len(names), barmode="stack", bargap=0.35)
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5],
        showgrid=False,
    )  # fmt: skip
    figure.update_xaxes(title_text=unit, rangemode="tozero", tickformat="~s", nticks=7)
    return figure


def _add_bars(
    figure: go.Figure, record: Record, name: str, color: str, values: list[float], unit: str
) -> None:
    figure.add_bar(
        orientation="h", name=html.escape(name), marker_color=color,
        y=list(range(len(values))), x=values,
        text=[_label(layer.name) for layer in record.layers], textposition="none",
        hovertemplate=f"%{{text}}<br>{html.escape(name)}: %{{x:,.4~g}} {unit}<extra></extra>",
    )  # fmt: skip


def _confusion(record: Record, counts: NDArray[np.float64]) -> go.Figure:
    """Right ones in blue, wrong ones in red on a scale of their own: they are far fewer."""
    names = [_label(name) for name in record.classes]
    num = len(names)
    right = np.eye(num, dtype=bool)
    figure = _figure(440)
    # Where there is no image there is no colour.
    for where, color in ((right, BLUE), (~right & (counts > 0), RED)):
        rows = [
            [counts[i, j] if where[i, j] else None for j in range(num)] for i in range(num)
        ]  # fmt: skip
        most = max((c for row in rows for c in row if c is not None), default=1)
        texts = [["" if c is None else f"{c:.0f}" for c in row] for row in rows]
        figure.add_heatmap(
            x=list(range(num)), y=list(range(num)), z=rows, zmin=0, zmax=max(most, 1),
            colorscale=[[0, "#ffffff"], [1, color]], showscale=False, xgap=1, ygap=1,
            text=texts, texttemplate="%{text}" if num <= MANY_CLASSES else None,
            textfont={"size": 11}, hoverongaps=False,
            customdata=[[[a, b] for b in names] for a in names],
            hovertemplate="%{z:,.0f} of %{customdata[0]}<br>put in %{customdata[1]}<extra></extra>",
        )  # fmt: skip
    ticks = {"tickvals": list(range(num)), "ticktext": names, "showgrid": False}
    figure.update_xaxes(**ticks, title_text="put in class", tickangle=-45)
    figure.update_yaxes(**ticks, title_text="is of class", range=[num - 0.5, -0.5])
    figure.update_layout(margin_t=8)
    return figure


def _recall(record: Record, counts: NDArray[np.float64]) -> go.Figure:
    total, put = counts.sum(axis=1), counts.sum(axis=0)
    shown = [i for i in range(len(total)) if total[i] or put[i]]
    recalls = [100 * counts[i, i] / total[i] if total[i] else 0 for i in shown]
    precise = [100 * counts[i, i] / put[i] if put[i] else 0 for i in shown]
    figure = _figure(max(440, 20 * len(shown)), barmode="group", bargap=0.3)
    for name, color, values, meaning in (
        ("recall", BLUE, recalls, "of its images are put in it"),
        ("precision", PALE, precise, "of what is put in it belongs there"),
    ):
        figure.add_bar(
            orientation="h", name=name, marker_color=color, y=list(range(len(shown))), x=values,
            text=[_label(record.classes[i]) for i in shown], textposition="none",
            hovertemplate=f"%{{text}}<br>%{{x:.1f}}% {meaning}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(shown))), ticktext=[_label(record.classes[i]) for i in shown],
        range=[len(shown) - 0.5, -0.5], showgrid=False,
    )  # fmt: skip
    figure.update_xaxes(
        range=[0, 104], tickvals=[0, 25, 50, 75, 100], ticktext=["0", "25%", "50%", "75%", "100%"]
    )
    return figure


def _cycles(record: Record) -> go.Figure:
    """Cycles, or steps where there is no time: how much of them the multipliers are at work."""
    ideal = [layer.macs / record.multipliers for layer in record.layers]
    timed = record.cycles_per_image is not None
    figure = _layer_bars(record, "cycles of an image" if timed else "steps of an image")
    unit = "cycles" if timed else "steps"
    _add_bars(figure, record, "multipliers at work", BLUE, ideal, unit)
    idle = [max(layer.steps - n, 0) for layer, n in zip(record.layers, ideal, strict=True)]
    _add_bars(figure, record, "idle in a step", PALE, idle, unit)
    if timed:
        lost = [sum((layer.lost_cycles or {}).values()) for layer in record.layers]
        _add_bars(figure, record, "no step", AMBER, lost, unit)
    texts = []
    for layer in record.layers:
        total = layer.cycles or layer.steps
        use = "" if layer.utilization is None else f"  {layer.utilization:.1%}"
        texts.append((f"{total:,.0f}" if total < 1e7 else f"{total:.2e}", use))
    for i, (total_text, use) in enumerate(texts):
        figure.add_annotation(
            xref="paper", x=1, y=i, text=f"<b>{total_text}</b>{use}", showarrow=False,
            xanchor="left", xshift=6, font={"size": 11},
        )  # fmt: skip
    # Plotly makes room for the labels of axes by itself, but not for these.
    figure.update_layout(margin_r=12 + 7 * max(len(text + use) for text, use in texts))
    return figure


def _lost(record: Record) -> go.Figure:
    figure = _layer_bars(record, "cycles without a step")
    causes = dict.fromkeys(c for layer in record.layers for c in layer.lost_cycles or {})
    for cause in causes:
        values = [(layer.lost_cycles or {}).get(cause, 0) for layer in record.layers]
        if any(values):
            name, color = CAUSES.get(cause, (cause, MUTED))
            _add_bars(figure, record, name, color, values, "cycles")
    return figure


def _memory_bytes(record: Record, layer: LayerRecord) -> tuple[float, float, float]:
    """Bytes of weights and activations that a layer reads, and of outputs."""
    t = layer.traffic
    return t["weight_words"] * record.multipliers, t["activation_bytes"], t["result_bytes"]


def _gated(record: Record, *layers: LayerRecord) -> float:
    """The share of multiplications that a zero activation kept from switching."""
    has_windows = record.configuration.get("line_width", 0) > 0
    sets = record.configuration.get("num_cols" if has_windows else "pixel_groups", 1)
    gated = sum(layer.traffic["gated_taps"] for layer in layers)
    return gated / (TAPS * max(sets, 1) * sum(layer.array_steps for layer in layers))


def _roofline(record: Record) -> go.Figure:
    points = []
    for layer in record.layers:
        read = sum(_memory_bytes(record, layer)[:2])
        if read and layer.macs and layer.cycles:
            points.append((layer.name, layer.macs / read, layer.macs / layer.cycles))
    peak, width = record.multipliers, record.memory_bytes_per_cycle
    ridge = peak / width
    low = min([ridge, *(x for _, x, _ in points)]) / 2
    high = max([ridge, *(x for _, x, _ in points)]) * 2.5
    legend = len(points) > len(TENSOR_COLORS)
    figure = _figure(400, margin_t=36 if legend else 8)
    figure.add_scatter(
        x=[low, ridge, high], y=[low * width, peak, peak], mode="lines", name="roof",
        line={"color": INK, "width": 2}, hoverinfo="skip", showlegend=False,
        fill="tozeroy", fillcolor="rgba(47,109,181,0.06)",
    )  # fmt: skip
    for i, (name, x, y) in enumerate(points):
        roof = min(peak, x * width)
        figure.add_scatter(
            x=[x], y=[y], mode="markers" if legend else "markers+text", name=_label(name),
            text=[_label(name)], textposition="bottom center", showlegend=legend,
            marker={"size": 13, "color": TENSOR_COLORS[i % len(TENSOR_COLORS)],
                    "symbol": i // len(TENSOR_COLORS) % 5,
                    "line": {"color": "white", "width": 1.5}},
            hovertemplate="%{text}<br>%{y:.1f} MACs a cycle<br>"
            f"%{{x:.2f}} a byte<br>{y / roof:.0%} of the roof<extra></extra>",
        )  # fmt: skip
    lowest = min([low * width, *(y for _, _, y in points)])
    figure.update_xaxes(
        type="log", range=[float(np.log10(low)), float(np.log10(high))],
        title_text="MACs a byte read from memory", **_log_ticks(low, high),
    )  # fmt: skip
    bottom, top = lowest / 1.6, peak * 1.7
    figure.update_yaxes(
        type="log", range=[float(np.log10(bottom)), float(np.log10(top))],
        title_text="MACs a cycle", **_log_ticks(bottom, top),
    )  # fmt: skip
    for text, x, anchor, above in (
        (f"{peak:,} multipliers", high, "right", "bottom"),
        (f"memory: {width:,} bytes a cycle", float(np.sqrt(low * ridge)), "left", "top"),
    ):
        figure.add_annotation(
            x=float(np.log10(x)), y=float(np.log10(min(peak, x * width))), text=text,
            showarrow=False, xanchor=anchor, yanchor=above, font={"size": 11, "color": MUTED},
            xshift=6 if anchor == "left" else -2, yshift=0 if anchor == "left" else 2,
        )  # fmt: skip
    return figure


def _log_ticks(low: float, high: float) -> dict[str, Any]:
    """1, 2 and 5 of each power of ten: Plotly's own choice is crowded or bare."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = [m * 10.0**p for p in powers for m in ((1, 2, 5) if len(powers) < 5 else (1,))]
    return {"tickvals": values, "ticktext": [f"{v:,.10g}" for v in values]}


def _traffic(record: Record) -> go.Figure:
    figure = _layer_bars(record, "bytes of an image")
    columns = zip(*(_memory_bytes(record, layer) for layer in record.layers), strict=True)
    for (name, color), values in zip(
        (("weights read", BLUE), ("activations read", "#2a9d8f"), ("outputs", AMBER)),
        columns,
        strict=True,
    ):
        _add_bars(figure, record, name, color, list(values), "bytes")
    return figure


def _energy(record: Record) -> go.Figure:
    figure = _layer_bars(record, "energy of an image, in MACs")
    # Five names of kinds need more room above.
    figure.update_layout(height=figure.layout.height + 40)
    variant = next(iter(record.layers[0].energy))
    for kind in record.layers[0].energy[variant]:
        name, color = ENERGY.get(kind, (kind, MUTED))
        values = [layer.energy[variant][kind] for layer in record.layers]
        _add_bars(figure, record, name, color, values, "")
    return figure


def _variants(record: Record) -> go.Figure:
    """The image's energy as it is, and without what saves it."""
    names = list(record.layers[0].energy)
    totals = [sum(sum(layer.energy[n].values()) for layer in record.layers) for n in names]
    figure = _figure(60 + 34 * len(names), bargap=0.35, margin_t=8)
    figure.add_bar(
        orientation="h", x=totals, y=list(range(len(names))),
        marker_color=[BLUE] + [PALE] * (len(names) - 1),
        text=[f" {t / 1000:,.0f} k" for t in totals], textposition="outside", cliponaxis=False,
        hovertemplate="%{x:,.0f} MACs<extra></extra>", showlegend=False,
    )  # fmt: skip
    figure.update_xaxes(
        range=[0, 1.35 * max([1, *totals])], tickformat="~s", nticks=6,
        title_text="energy of an image, in MACs",
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=[_label(n) for n in names],
        range=[len(names) - 0.5, -0.5], showgrid=False,
    )  # fmt: skip
    return figure


def _memory_map(record: Record) -> go.Figure:
    """Tensors as boxes: the rows that they take, over the layers during which they are kept."""
    num = len(record.layers)
    used, rows = record.memory_rows_used, record.memory_rows
    figure = _figure(420, barmode="overlay", margin_t=8, showlegend=False)
    shown = [(i, t, kept) for i, t in enumerate(record.tensors) for kept in t.kept]
    for i, t, (start, end) in shown:
        shape = "×".join(map(str, t.shape))
        last = t.first_row + t.rows - 1
        thin = t.rows < 0.1 * used
        figure.add_bar(
            x=[start], width=[end - start], offset=0, base=[t.first_row], y=[t.rows],
            marker={"color": TENSOR_COLORS[i % len(TENSOR_COLORS)], "opacity": 0.88,
                    "line": {"color": "white", "width": 1.5}},
            text="" if thin else f"{_label(t.name)}<br>{shape}",
            textposition="inside", textangle=0,
            insidetextanchor="middle", insidetextfont={"color": "white", "size": 12},
            hovertemplate=f"{_label(t.name)}, {shape}<br>rows {t.first_row:,} to {last:,}"
            "<extra></extra>",
        )  # fmt: skip
        if thin and num <= MANY_LAYERS:
            figure.add_annotation(
                x=start, y=t.first_row + t.rows, text=_label(t.name), showarrow=False,
                xanchor="left", yanchor="bottom", font={"size": 11},
            )  # fmt: skip
    figure.update_xaxes(
        range=[0, num], tickvals=[i + 0.5 for i in range(num)],
        ticktext=[_label(layer.name) for layer in record.layers], showgrid=False,
        title_text="layer that runs",
    )  # fmt: skip
    for i in range(1, num):
        figure.add_vline(x=i, line={"color": GRID, "width": 1}, layer="below")
    top = 1.12 * used
    if rows <= top:
        figure.add_hline(y=rows, line={"color": RED, "width": 1.5, "dash": "dash"})
    figure.update_yaxes(range=[0, top], title_text="row of the activation memory", tickformat=",d")
    return figure


def _card(record: Record, image: ImageRecord) -> dict[str, Any]:
    """What the template needs of an image: its picture, and a bar a logit."""
    logits = np.array(image.logits)
    values = (logits - record.logit_zero_point) * record.logit_scale
    low, span = float(values.min(initial=0)), float(np.ptp(np.append(values, 0))) or 1.0
    # The largest in full, where a network has very many.
    order = range(len(logits))
    if len(logits) > MANY_CLASSES:
        order = np.argsort(-logits, kind="stable")[:10].tolist()
    png = io.BytesIO()
    pixels = np.frombuffer(image.pixels, np.uint8).reshape(record.picture_shape)
    Image.fromarray(pixels).save(png, "PNG", optimize=True)
    return {
        "index": image.index,
        "label": "" if image.label is None else record.classes[image.label],
        "winner": record.classes[image.winner],
        "right": image.label in (None, image.winner),
        "png": base64.b64encode(png.getvalue()).decode(),
        "logits": [
            {
                "name": record.classes[i],
                "integer": int(logits[i]),
                "value": float(values[i]),
                "left": round(100 * (min(values[i], 0) - low) / span, 2),
                "width": round(100 * abs(values[i]) / span, 2),
                "kind": "winner" if i == image.winner else "label" if i == image.label else "",
            }
            for i in order
        ],
    }


def _json_for_html(value: Any) -> str:
    """JSON that ends no script element, whatever text it holds."""
    text = json.dumps(value, separators=(",", ":"))
    return re.sub("[<>&]", lambda c: f"\\u{ord(c[0]):04x}", text)


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _asset(name: str) -> str:
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["count"] = lambda n: f"{n:,.0f}"
    environment.filters["percent"] = lambda share, digits=1: f"{share:.{digits}%}"
    return environment.from_string(_asset("report.html"))
