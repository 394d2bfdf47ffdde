"""From records to what people look at: figures, tables and the HTML report. Knows no torch."""
