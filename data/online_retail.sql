-- One row per invoice: what a customer bought, or sent back (invoice numbers that begin with C).
-- The file holds lines of invoices (541,909), the rows of the log are invoices (23,795). Left out
-- here, so that no report counts them: 2,102 invoices without any price, corrections of the stock
-- (4 of them name a customer), and 3 bookings of bad debt.
SELECT
    InvoiceNo AS invoice,
    regexp_replace(CustomerID, '\.0$', '') AS customer_id,
    min(CAST(InvoiceDate AS TIMESTAMP)) AS invoiced_at,
    CASE WHEN InvoiceNo LIKE 'C%' THEN 'return' ELSE 'purchase' END AS kind,
    Country AS country,
    round(sum(CAST(Quantity AS DECIMAL(18, 2)) * CAST(UnitPrice AS DECIMAL(18, 4))), 2) AS amount
FROM read_csv('online_retail.csv.gz', all_varchar = true)
WHERE InvoiceNo NOT LIKE 'A%'  -- bookings of bad debt
GROUP BY InvoiceNo, CustomerID, Country
HAVING sum(CAST(UnitPrice AS DECIMAL(18, 4))) > 0  -- corrections of the stock
