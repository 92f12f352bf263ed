"""The client side: the Client contract, informers, work queues, leader election."""
