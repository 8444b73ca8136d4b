-- One row per invoice: what a customer bought, or sent back (invoice numbers that begin with C).
SELECT
    InvoiceNo AS invoice,
    regexp_replace(CustomerID, '\.0$', '') AS customer_id,
    min(CAST(InvoiceDate AS TIMESTAMP)) AS invoiced_at,
    CASE WHEN InvoiceNo LIKE 'C%' THEN 'return' ELSE 'purchase' END AS kind,
    Country AS country,
    round(sum(CAST(Quantity AS DECIMAL(18, 2)) * CAST(UnitPrice AS DECIMAL(18, 4))), 2) AS amount
FROM read_csv('online_retail.csv.gz', all_varchar = true)
WHERE InvoiceNo NOT LIKE 'A%'  -- bookings of bad debt, no invoices
GROUP BY InvoiceNo, CustomerID, Country
HAVING sum(CAST(UnitPrice AS DECIMAL(18, 4))) > 0  -- stock corrections have no price
