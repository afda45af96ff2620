"""Results: what was measured, how certain it is, what it costs, and the examples behind each number."""

from perpcs.ui import costs, peftu, results
from perpcs.ui.engine import get_engine
from perpcs.ui.state import studio, write_link
from perpcs.ui.widgets import flush

engine, record = get_engine(), studio()

results.table_panel(engine, record)
flush(f"results, {record.measure}")
costs.pareto_panel(record)
costs.history_panel(engine, record)
costs.robustness_panel(engine, record)
costs.cost_panel(engine)
costs.case_panel(engine)
peftu.peftu_panel()
costs.missing_panel(engine)
write_link(record)
