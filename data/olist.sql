-- The steps of every order as events: placed, approved, shipped, delivered (late or in time against
-- the promised day), reviewed. The feeling of a delivery is the score its review gives. Times are
-- read as the tables are published (ISO) or as copies of them write them (month first).
WITH times AS (
    SELECT
        order_id, customer_id,
        try_strptime(order_purchase_timestamp, ['%Y-%m-%d %H:%M:%S', '%m/%d/%Y %H:%M'])
            AS placed_at,
        try_strptime(order_approved_at, ['%Y-%m-%d %H:%M:%S', '%m/%d/%Y %H:%M'])
            AS paid_at,
        try_strptime(order_delivered_carrier_date, ['%Y-%m-%d %H:%M:%S', '%m/%d/%Y %H:%M'])
            AS given_at,
        try_strptime(order_delivered_customer_date, ['%Y-%m-%d %H:%M:%S', '%m/%d/%Y %H:%M'])
            AS delivered_at,
        try_strptime(order_estimated_delivery_date, ['%Y-%m-%d %H:%M:%S', '%m/%d/%Y %H:%M'])
            AS promised_at
    FROM read_csv('olist_orders_dataset.csv', all_varchar = true)
),
orders AS (
    -- The clocks of shop, payment and carrier differ: a parcel counts as shipped when it was
    -- ordered at the earliest, the payment as approved when it was shipped at the latest. Else the
    -- order would come after its delivery began, as if the customer had come back to buy again.
    SELECT t.*, c.customer_unique_id,
        CASE WHEN given_at < placed_at THEN placed_at ELSE given_at END AS shipped_at,
        CASE WHEN paid_at > shipped_at THEN shipped_at ELSE paid_at END AS approved_at
    FROM times AS t
    JOIN read_csv('olist_customers_dataset.csv', all_varchar = true) AS c USING (customer_id)
),
payments AS (
    SELECT
        order_id,
        sum(CAST(payment_value AS DECIMAL(18, 2))) AS amount,
        arg_max(payment_type, CAST(payment_value AS DECIMAL(18, 2))) AS payment_type
    FROM read_csv('olist_order_payments_dataset.csv', all_varchar = true)
    GROUP BY order_id
),
reviews AS (
    -- Copies of the table without its texts have empty ones.
    SELECT order_id, review_score,
        nullif(concat_ws('. ', nullif(trim(review_comment_title), ''),
            nullif(trim(review_comment_message), '')), '') AS comment,
        try_strptime(review_answer_timestamp, ['%Y-%m-%d %H:%M:%S', '%m/%d/%Y %H:%M'])
            AS answered_at
    FROM (
        SELECT NULL::VARCHAR AS review_comment_title, NULL::VARCHAR AS review_comment_message
        WHERE false
        UNION ALL BY NAME
        FROM read_csv('olist_order_reviews_dataset.csv', all_varchar = true)
    )
),
steps AS (
    SELECT order_id, 'order_placed' AS touchpoint, placed_at AS happened_at,
        NULL AS review_score, NULL AS comment FROM orders
    UNION ALL
    SELECT order_id, 'order_approved', approved_at, NULL, NULL FROM orders
    UNION ALL
    SELECT order_id, 'order_shipped', shipped_at, NULL, NULL FROM orders
    UNION ALL
    SELECT order_id,
        CASE WHEN delivered_at >= promised_at + INTERVAL 1 DAY
            THEN 'delivered_late' ELSE 'delivered_in_time' END,
        delivered_at, score, NULL
    FROM orders LEFT JOIN (
        SELECT order_id, min(review_score) AS score FROM reviews GROUP BY order_id
    ) AS worst USING (order_id)
    UNION ALL
    SELECT order_id, 'review', answered_at, review_score, comment FROM reviews
)
SELECT
    o.customer_unique_id, s.touchpoint, s.happened_at, s.review_score, s.comment, s.order_id,
    p.payment_type,
    CASE WHEN s.touchpoint = 'order_placed' THEN p.amount END AS amount
FROM steps AS s
JOIN orders AS o USING (order_id)
LEFT JOIN payments AS p USING (order_id)
WHERE s.happened_at IS NOT NULL
